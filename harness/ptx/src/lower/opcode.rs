//! What each opcode means.

use super::{Lowering, Place};
use crate::code::*;
use crate::memory::PARAMETER_BASE;
use crate::parse::{Function, Instruction, Operand};

type Lowered = Result<(), String>;

/// Suffixes of accesses that change nothing here: caches, and an order that one thread keeps anyway.
const IGNORED: &[&str] = &[
    "volatile", "weak", "relaxed", "acquire", "release", "acq_rel", "cta", "gpu", "sys", "nc", "ca", "cg", "cs", "cv",
    "lu", "wb", "wt",
];

impl<'a> Lowering<'a> {
    pub(super) fn instruction(&mut self, function: &'a Function, instruction: &Instruction, place: &Place) -> Lowered {
        let mut at = Words { lowering: self, function, place, instruction, guard: (NONE, false) };
        if let Some((name, negated)) = &instruction.guard {
            at.guard = (at.lowering.register(function, place, name)?, *negated);
        }
        at.lower()
    }
}

/// One instruction while it is lowered.
struct Words<'l, 'a> {
    lowering: &'l mut Lowering<'a>,
    function: &'a Function,
    place: &'l Place,
    instruction: &'l Instruction,
    guard: (u32, bool),
}

impl Words<'_, '_> {
    fn lower(&mut self) -> Lowered {
        let parts = self.instruction.parts();
        let last = parts[parts.len() - 1];
        let kind = Type::parse(last);
        match parts[0] {
            "mov" => self.mov(last),
            "cvta" => self.plain(Op::Move64, Type::U64),
            "cvt" => self.convert(&parts),
            "ld" | "ldu" => self.memory(&parts, true),
            "st" => self.memory(&parts, false),
            "atom" | "red" => self.atomic(&parts),
            "setp" => self.compare(&parts),
            "selp" => self.select(kind),
            "bra" => self.branch(),
            "brx" => self.branch_table(),
            "ret" => self.ret(),
            "exit" => self.bare(Op::Exit),
            "trap" => self.bare(Op::Trap),
            "membar" | "fence" => self.bare(Op::Nothing),
            "bar" | "barrier" if parts.contains(&"warp") => self.bare(Op::Nothing),
            "bar" | "barrier" if parts.contains(&"sync") => self.bare(Op::Barrier),
            "shfl" => self.shuffle(&parts),
            "vote" => self.vote(&parts),
            "activemask" => self.word_of(Op::ActiveMask, &[]),
            "and" | "or" | "xor" | "not" if last == "pred" => self.logic(parts[0]),
            "shf" => {
                let wraps = parts.contains(&"wrap");
                let op = if parts[1] == "l" { Op::FunnelLeft(wraps) } else { Op::FunnelRight(wraps) };
                self.word_of(op, &[Type::U32; 3])
            }
            "prmt" if parts.len() == 2 => self.word_of(Op::Permute, &[Type::U32; 3]),
            "lop3" => self.lop3(),
            "bfe" => {
                let kind = kind.ok_or("its type is not known")?;
                self.plain_of(Op::Extract(kind), &[kind, Type::U32, Type::U32])
            }
            "bfi" => self.insert(kind),
            "mul" | "mad" if parts.contains(&"wide") => self.wide(&parts),
            _ => self.arithmetic(&parts, kind.ok_or_else(|| "it is not known here".to_owned())?),
        }
    }

    // --- operands

    fn operand(&self, at: usize) -> Result<&Operand, String> {
        self.instruction.operands.get(at).ok_or_else(|| "an operand is missing".to_owned())
    }

    /// The place of a value that is read as `kind`.
    fn value(&mut self, operand: &Operand, kind: Type) -> Result<u32, String> {
        let fixed = match operand {
            // Inside of braces a variable has another name, which looks like that of a register.
            Operand::Register(name) if self.place.variables.contains_key(name) => Fixed::Wide(self.address(name)?),
            Operand::Register(name) => return self.register_or_special(name),
            Operand::Whole(value) if kind.size() == 8 => Fixed::Wide(*value as u64),
            Operand::Whole(value) => Fixed::Word(*value as u32 & (u32::MAX >> (32 - 8 * kind.size() as u32))),
            Operand::Single(bits) => Fixed::Word(*bits),
            Operand::Double(bits) => Fixed::Wide(*bits),
            Operand::Name(name) => Fixed::Wide(self.address(name)?),
            Operand::Address(base, offset) => match (&**base, offset) {
                (Operand::Name(name), offset) => Fixed::Wide(self.address(name)?.wrapping_add_signed(*offset)),
                _ => return Err("an address stands where a value is expected".into()),
            },
            _ => return Err("an operand is not a value".into()),
        };
        let class = if matches!(fixed, Fixed::Wide(_)) { Class::Wide } else { Class::Word };
        Ok(self.lowering.fixed(class, fixed))
    }

    fn register_or_special(&mut self, name: &str) -> Result<u32, String> {
        let special = match name {
            "%tid.x" => Fixed::Thread,
            "%ntid.x" => Fixed::BlockSize,
            "%ctaid.x" => Fixed::BlockIndex,
            "%nctaid.x" => Fixed::GridSize,
            "%laneid" => Fixed::Lane,
            "%tid.y" | "%tid.z" | "%ctaid.y" | "%ctaid.z" => Fixed::Zero,
            "%ntid.y" | "%ntid.z" | "%nctaid.y" | "%nctaid.z" => Fixed::One,
            "%SP" | "%SPL" | "WARP_SZ" => return self.lowering.register(self.function, self.place, name),
            _ if self.function.registers.is_empty() => return Err(format!("the register {name} is not declared")),
            _ => return self.lowering.register(self.function, self.place, name),
        };
        Ok(self.lowering.fixed(Class::Word, special))
    }

    /// The address of a variable.
    fn address(&self, name: &str) -> Result<u64, String> {
        if let Some(address) = self.place.variables.get(name).or_else(|| self.lowering.globals.get(name)) {
            return Ok(*address);
        }
        let offset = self.lowering.parameters.get(name);
        offset.map(|offset| PARAMETER_BASE + u64::from(*offset)).ok_or_else(|| format!("there is no variable {name}"))
    }

    /// The place that operand `at` names to be written.
    fn target(&mut self, at: usize) -> Result<u32, String> {
        match self.operand(at)?.clone() {
            Operand::Register(name) => self.lowering.register(self.function, self.place, &name),
            _ => Err("its result is not a register".into()),
        }
    }

    fn values(&mut self, first: usize, kinds: &[Type]) -> Result<[u32; 3], String> {
        let mut places = [NONE; 3];
        for (i, kind) in kinds.iter().enumerate() {
            let operand = self.operand(first + i)?.clone();
            places[i] = self.value(&operand, *kind)?;
        }
        Ok(places)
    }

    fn emit(&mut self, mut inst: Inst) {
        (inst.guard, inst.negated) = self.guard;
        self.lowering.emit(inst);
    }

    fn push(&mut self, op: Op, d: u32, [a, b, c]: [u32; 3], x: u32) {
        self.emit(Inst { d, a, b, c, x, ..Inst::of(op) });
    }

    fn class(&self, id: u32) -> Class {
        self.lowering.classes[id as usize]
    }

    /// `d = op(operands)`; the class of `d` must be that of the result.
    fn plain_of(&mut self, op: Op, kinds: &[Type]) -> Lowered {
        let d = self.target(0)?;
        let values = self.values(1, kinds)?;
        for (value, kind) in values.iter().zip(kinds) {
            if self.class(*value) != kind.class() {
                return Err("an operand has not the size of its type".into());
            }
        }
        self.push(op, d, values, 0);
        Ok(())
    }

    fn plain(&mut self, op: Op, kind: Type) -> Lowered {
        self.plain_of(op, &[kind])
    }

    fn word_of(&mut self, op: Op, kinds: &[Type]) -> Lowered {
        let d = self.target(0)?;
        if self.class(d) != Class::Word {
            return Err("its result is not a register of 32 bits".into());
        }
        self.plain_of(op, kinds)
    }

    fn bare(&mut self, op: Op) -> Lowered {
        self.emit(Inst::of(op));
        Ok(())
    }

    // --- moves

    fn mov(&mut self, last: &str) -> Lowered {
        let (to, from) = (self.operand(0)?.clone(), self.operand(1)?.clone());
        if last == "pred" {
            let d = self.target(0)?;
            let a = match from {
                Operand::Register(name) => self.lowering.register(self.function, self.place, &name)?,
                Operand::Whole(0) => self.lowering.fixed(Class::Predicate, Fixed::False),
                Operand::Whole(_) => self.lowering.fixed(Class::Predicate, Fixed::True),
                _ => return Err("its operand is not a predicate".into()),
            };
            self.push(Op::LogicMove, d, [a, NONE, NONE], 0);
            return Ok(());
        }
        let kind = Type::parse(last).ok_or("its type is not known")?;
        let halves = if kind.size() == 8 { (Op::Low, Op::High) } else { (Op::Low16, Op::High16) };
        match (to, from) {
            (Operand::Group(parts), from) if parts.len() == 2 && kind.size() >= 4 => {
                let a = self.value(&from, kind)?;
                for (part, op) in parts.iter().zip([halves.0, halves.1]) {
                    if *part == Operand::Name("_".into()) {
                        continue;
                    }
                    let Operand::Register(name) = part else { return Err("its result is not a register".into()) };
                    let d = self.lowering.register(self.function, self.place, name)?;
                    self.push(op, d, [a, NONE, NONE], 0);
                }
                Ok(())
            }
            (_, Operand::Group(parts)) if parts.len() == 2 && kind.size() >= 4 => {
                let (op, part) = if kind.size() == 8 { (Op::Pack, Type::U32) } else { (Op::Pack16, Type::U16) };
                let d = self.target(0)?;
                let (a, b) = (self.value(&parts[0], part)?, self.value(&parts[1], part)?);
                self.push(op, d, [a, b, NONE], 0);
                Ok(())
            }
            (_, Operand::Group(_)) => Err("only pairs are known".into()),
            _ => self.plain(if kind.size() == 8 { Op::Move64 } else { Op::Move32 }, kind),
        }
    }

    fn convert(&mut self, parts: &[&str]) -> Lowered {
        let types: Vec<Type> = parts.iter().filter_map(|part| Type::parse(part)).collect();
        let [to, from] = types[..] else { return Err("its types are not known".into()) };
        let round = parts.iter().find_map(|part| match *part {
            "rn" | "rni" => Some(Rounding::Nearest),
            "rz" | "rzi" => Some(Rounding::Zero),
            "rm" | "rmi" => Some(Rounding::Down),
            "rp" | "rpi" => Some(Rounding::Up),
            _ => None,
        });
        if parts.contains(&"ftz") {
            return Err("it flushes small numbers to zero".into());
        }
        let narrows = from.float() && to.float() && from != to || !from.float() && to.float();
        if narrows && !matches!(round, Some(Rounding::Nearest) | None) {
            return Err("only rounding to the nearest is known for it".into());
        }
        let saturate = parts.contains(&"sat");
        let d = self.target(0)?;
        if self.class(d) != to.class() {
            return Err("its result has not the size of its type".into());
        }
        // A byte stands in a register of 16 or 32 bits, so the class of the source is that of the register.
        let a = self.values(1, &[from])?;
        self.push(Op::Convert { from, to, round, saturate }, d, a, 0);
        Ok(())
    }

    fn select(&mut self, kind: Option<Type>) -> Lowered {
        let kind = kind.ok_or("its type is not known")?;
        let d = self.target(0)?;
        let [a, b, _] = self.values(1, &[kind, kind])?;
        let Operand::Register(name) = self.operand(3)?.clone() else { return Err("it lacks a predicate".into()) };
        let c = self.lowering.register(self.function, self.place, &name)?;
        self.push(if kind.size() == 8 { Op::Select64 } else { Op::Select32 }, d, [a, b, c], 0);
        Ok(())
    }

    // --- predicates

    fn predicate(&mut self, operand: &Operand) -> Result<(u32, bool), String> {
        match operand {
            Operand::Register(name) => Ok((self.lowering.register(self.function, self.place, name)?, false)),
            Operand::Not(name) => Ok((self.lowering.register(self.function, self.place, name)?, true)),
            _ => Err("an operand is not a predicate".into()),
        }
    }

    fn logic(&mut self, name: &str) -> Lowered {
        let d = self.target(0)?;
        let first = self.operand(1)?.clone();
        let (a, _) = self.predicate(&first)?;
        if name == "not" {
            self.push(Op::LogicNot, d, [a, NONE, NONE], 0);
            return Ok(());
        }
        let second = self.operand(2)?.clone();
        let (b, _) = self.predicate(&second)?;
        let logic = match name {
            "and" => Logic::And,
            "or" => Logic::Or,
            _ => Logic::Xor,
        };
        self.push(Op::Logic(logic), d, [a, b, NONE], 0);
        Ok(())
    }

    fn compare(&mut self, parts: &[&str]) -> Lowered {
        let kind = Type::parse(parts[parts.len() - 1]).ok_or("its type is not known")?;
        if parts.contains(&"ftz") {
            return Err("it flushes small numbers to zero".into());
        }
        let compare = match parts[1] {
            "eq" => Compare::Eq,
            "ne" => Compare::Ne,
            "lt" | "lo" => Compare::Lt,
            "le" | "ls" => Compare::Le,
            "gt" | "hi" => Compare::Gt,
            "ge" | "hs" => Compare::Ge,
            "equ" => Compare::EqU,
            "neu" => Compare::NeU,
            "ltu" => Compare::LtU,
            "leu" => Compare::LeU,
            "gtu" => Compare::GtU,
            "geu" => Compare::GeU,
            "num" => Compare::Number,
            "nan" => Compare::NotNumber,
            _ => return Err("its comparison is not known".into()),
        };
        let logic = match parts[2] {
            "and" => Some(Logic::And),
            "or" => Some(Logic::Or),
            "xor" => Some(Logic::Xor),
            _ => None,
        };
        let [a, b, _] = self.values(1, &[kind, kind])?;
        if self.class(a) != kind.class() || self.class(b) != kind.class() {
            return Err("an operand has not the size of its type".into());
        }
        let (first, second) = match self.operand(0)?.clone() {
            Operand::Register(name) => (name, None),
            Operand::Pair(first, second) => (first, Some(second)),
            _ => return Err("its result is not a predicate".into()),
        };
        if let (None, None) = (logic, &second) {
            let d = self.lowering.register(self.function, self.place, &first)?;
            self.push(Op::Set(compare, kind), d, [a, b, NONE], 0);
            return Ok(());
        }
        let result = self.lowering.temporary(Class::Predicate);
        self.push(Op::Set(compare, kind), result, [a, b, NONE], 0);
        let combined = match logic {
            None => None,
            Some(logic) => {
                let operand = self.operand(3)?.clone();
                let (mut other, negated) = self.predicate(&operand)?;
                if negated {
                    let turned = self.lowering.temporary(Class::Predicate);
                    self.push(Op::LogicNot, turned, [other, NONE, NONE], 0);
                    other = turned;
                }
                Some((logic, other))
            }
        };
        for (name, negated) in [(Some(first), false), (second, true)] {
            let Some(name) = name.filter(|name| name != "_") else { continue };
            let d = self.lowering.register(self.function, self.place, &name)?;
            match (combined, negated) {
                (None, false) => self.push(Op::LogicMove, d, [result, NONE, NONE], 0),
                (None, true) => self.push(Op::LogicNot, d, [result, NONE, NONE], 0),
                (Some((logic, other)), false) => self.push(Op::Logic(logic), d, [result, other, NONE], 0),
                (Some((logic, other)), true) => {
                    let turned = self.lowering.temporary(Class::Predicate);
                    self.push(Op::LogicNot, turned, [result, NONE, NONE], 0);
                    self.push(Op::Logic(logic), d, [turned, other, NONE], 0);
                }
            }
        }
        Ok(())
    }

    // --- control

    fn branch(&mut self) -> Lowered {
        let Operand::Name(label) = self.operand(0)?.clone() else { return Err("its target is not a label".into()) };
        let at = self.lowering.code.len();
        self.lowering.branches.push((at, format!("{}{label}", self.place.prefix)));
        self.bare(Op::Branch)
    }

    fn branch_table(&mut self) -> Lowered {
        let index = self.operand(0)?.clone();
        let a = self.value(&index, Type::U32)?;
        let Operand::Name(table) = self.operand(1)?.clone() else { return Err("its table is not a name".into()) };
        let targets = self.function.tables.get(&table).ok_or_else(|| format!("there is no table {table}"))?;
        let prefix = &self.place.prefix;
        self.lowering.tables.push(targets.iter().map(|label| format!("{prefix}{label}")).collect());
        let x = self.lowering.tables.len() as u32 - 1;
        self.push(Op::BranchTable, NONE, [a, NONE, NONE], x);
        Ok(())
    }

    fn ret(&mut self) -> Lowered {
        match self.place.end.clone() {
            None => self.bare(Op::Exit),
            Some(end) => {
                let at = self.lowering.code.len();
                self.lowering.branches.push((at, end));
                self.bare(Op::Branch)
            }
        }
    }

    // --- memory

    fn memory(&mut self, parts: &[&str], load: bool) -> Lowered {
        let kind = Type::parse(parts[parts.len() - 1]).ok_or("its type is not known")?;
        let (mut space, mut count) = (Space::Generic, 1);
        let mut parameter = false;
        for part in &parts[1..parts.len() - 1] {
            match *part {
                "global" => space = Space::Global,
                "local" => space = Space::Local,
                "shared" => space = Space::Shared,
                "param" => parameter = true,
                "const" => space = Space::Generic,
                "v2" => count = 2,
                "v4" => count = 4,
                part if IGNORED.contains(&part) => {}
                part => return Err(format!("its suffix .{part} is not known")),
            }
        }
        let (value, address) = if load { (0, 1) } else { (1, 0) };
        let operands = match self.operand(value)?.clone() {
            Operand::Group(parts) => parts,
            other => vec![other],
        };
        if operands.len() != count {
            return Err("it has not as many values as its vector".into());
        }
        let Operand::Address(base, offset) = self.operand(address)?.clone() else {
            return Err("it has no address".into());
        };
        let own_parameter = match &*base {
            Operand::Name(name) => self.lowering.parameters.get(name).copied(),
            _ => None,
        };
        // Values of the kernel's parameters are the same for all threads.
        if let (true, true, Some(at)) = (parameter, load, own_parameter.filter(|_| self.place.end.is_none())) {
            for (i, operand) in operands.iter().enumerate() {
                let Operand::Register(name) = operand else { continue };
                let d = self.lowering.register(self.function, self.place, name)?;
                let x = i64::from(at) + offset + (i * kind.size()) as i64;
                if x < 0 || x as usize + kind.size() > self.lowering.parameter_bytes {
                    return Err("it reads past the parameters".into());
                }
                let wide = self.class(d) == Class::Wide;
                self.push(Op::Parameter(kind, wide), d, [NONE; 3], x as u32);
            }
            return Ok(());
        }
        let a = self.value(&base, Type::U64)?;
        let mut registers = Vec::new();
        for operand in &operands {
            registers.push(match operand {
                Operand::Name(name) if name == "_" && load => self.lowering.temporary(kind.class()),
                Operand::Register(name) if load => self.lowering.register(self.function, self.place, name)?,
                operand => self.value(operand, kind)?,
            });
        }
        let wide = self.class(registers[0]) == Class::Wide;
        if registers.iter().any(|id| self.class(*id) == Class::Predicate || (self.class(*id) == Class::Wide) != wide) {
            return Err("its registers are not of one size".into());
        }
        self.lowering.accesses.push(Access { space, kind, offset, registers, wide });
        let x = self.lowering.accesses.len() as u32 - 1;
        self.push(if load { Op::Load } else { Op::Store }, NONE, [a, NONE, NONE], x);
        Ok(())
    }

    fn atomic(&mut self, parts: &[&str]) -> Lowered {
        let kind = Type::parse(parts[parts.len() - 1]).ok_or("its type is not known")?;
        if kind.float() || kind.size() < 4 {
            return Err("only atomics on whole numbers of 32 and 64 bits are known".into());
        }
        let has_result = parts[0] == "atom";
        let (mut atomic, mut space) = (None, Space::Generic);
        for part in &parts[1..parts.len() - 1] {
            match *part {
                "add" => atomic = Some(Atomic::Add),
                "min" => atomic = Some(Atomic::Min),
                "max" => atomic = Some(Atomic::Max),
                "and" => atomic = Some(Atomic::And),
                "or" => atomic = Some(Atomic::Or),
                "xor" => atomic = Some(Atomic::Xor),
                "exch" => atomic = Some(Atomic::Exchange),
                "cas" => atomic = Some(Atomic::CompareExchange),
                "global" => space = Space::Global,
                "shared" => space = Space::Shared,
                part if IGNORED.contains(&part) => {}
                part => return Err(format!("its suffix .{part} is not known")),
            }
        }
        let atomic = atomic.ok_or("what it does is not known")?;
        let d = match self.operand(0)? {
            Operand::Register(_) if has_result => self.target(0)?,
            _ if has_result => self.lowering.temporary(kind.class()),
            _ => NONE,
        };
        let first = usize::from(has_result);
        let Operand::Address(base, offset) = self.operand(first)?.clone() else {
            return Err("it has no address".into());
        };
        let a = self.value(&base, Type::U64)?;
        let operand = self.operand(first + 1)?.clone();
        let b = self.value(&operand, kind)?;
        let c = match atomic {
            Atomic::CompareExchange => {
                let operand = self.operand(first + 2)?.clone();
                self.value(&operand, kind)?
            }
            _ => NONE,
        };
        let wide = kind.size() == 8;
        self.lowering.accesses.push(Access { space, kind, offset, registers: Vec::new(), wide });
        let x = self.lowering.accesses.len() as u32 - 1;
        self.push(Op::Atomic(atomic, kind), d, [a, b, c], x);
        Ok(())
    }

    // --- warps

    fn shuffle(&mut self, parts: &[&str]) -> Lowered {
        let shuffle = match parts.get(2) {
            Some(&"up") => Shuffle::Up,
            Some(&"down") => Shuffle::Down,
            Some(&"bfly") => Shuffle::Butterfly,
            Some(&"idx") => Shuffle::Index,
            _ => return Err("what it does is not known".into()),
        };
        let values = self.values(1, &[Type::U32; 3])?;
        let (value, inside) = match self.operand(0)?.clone() {
            Operand::Register(name) => (name, None),
            Operand::Pair(value, inside) => (value, Some(inside)),
            _ => return Err("its result is not a register".into()),
        };
        let d = self.lowering.register(self.function, self.place, &value)?;
        // The lanes are asked before the value is replaced, for both can be one register.
        if let Some(inside) = inside {
            let p = self.lowering.register(self.function, self.place, &inside)?;
            self.push(Op::ShuffleInside(shuffle), p, values, 0);
        }
        self.push(Op::Shuffle(shuffle), d, values, 0);
        Ok(())
    }

    fn vote(&mut self, parts: &[&str]) -> Lowered {
        let vote = match parts.get(2) {
            Some(&"all") => Vote::All,
            Some(&"any") => Vote::Any,
            Some(&"uni") => Vote::Uniform,
            Some(&"ballot") => Vote::Ballot,
            _ => return Err("what it does is not known".into()),
        };
        let d = self.target(0)?;
        let operand = self.operand(1)?.clone();
        let (mut a, negated) = self.predicate(&operand)?;
        if negated {
            let turned = self.lowering.temporary(Class::Predicate);
            self.push(Op::LogicNot, turned, [a, NONE, NONE], 0);
            a = turned;
        }
        self.push(Op::Vote(vote), d, [a, NONE, NONE], 0);
        Ok(())
    }

    // --- numbers

    fn lop3(&mut self) -> Lowered {
        let d = self.target(0)?;
        let values = self.values(1, &[Type::U32; 3])?;
        let Operand::Whole(table) = *self.operand(4)? else { return Err("it lacks its table".into()) };
        self.push(Op::Lop3, d, values, table as u32 & 0xFF);
        Ok(())
    }

    fn insert(&mut self, kind: Option<Type>) -> Lowered {
        let kind = kind.ok_or("its type is not known")?;
        let d = self.target(0)?;
        let values = self.values(1, &[kind, kind, Type::U32])?;
        let Operand::Whole(length) = *self.operand(4)? else { return Err("only a fixed length is known".into()) };
        let op = if kind.size() == 8 { Op::Insert64 } else { Op::Insert32 };
        self.push(op, d, values, length as u32 & 0xFF);
        Ok(())
    }

    fn wide(&mut self, parts: &[&str]) -> Lowered {
        let kind = Type::parse(parts[parts.len() - 1]).ok_or("its type is not known")?;
        let result = match kind {
            Type::U16 | Type::S16 => Type::U32,
            Type::U32 | Type::S32 => Type::U64,
            _ => return Err("only 16 and 32 bits are known".into()),
        };
        if parts[0] == "mul" {
            self.plain_of(Op::MulWide(kind), &[kind, kind])
        } else {
            self.plain_of(Op::MadWide(kind), &[kind, kind, result])
        }
    }

    fn arithmetic(&mut self, parts: &[&str], kind: Type) -> Lowered {
        let has = |part: &str| parts.contains(&part);
        for suffix in ["approx", "full", "ftz"] {
            if has(suffix) {
                return Err(format!("its bits with .{suffix} are not fixed"));
            }
        }
        if has("cc") || has("sat") {
            return Err("its suffix is not known".into());
        }
        if ["rz", "rm", "rp"].iter().any(|mode| has(mode)) {
            return Err("only rounding to the nearest is known".into());
        }
        if kind.float() {
            return self.float(parts, kind);
        }
        let signed = kind.signed();
        let two = match (parts[0], parts.get(1).copied().unwrap_or_default()) {
            ("add", _) => Some(Whole2::Add),
            ("sub", _) => Some(Whole2::Sub),
            ("mul", "lo") => Some(Whole2::Mul),
            ("mul", "hi") if kind.size() >= 4 => Some(if signed { Whole2::MulHighS } else { Whole2::MulHighU }),
            ("and", _) => Some(Whole2::And),
            ("or", _) => Some(Whole2::Or),
            ("xor", _) => Some(Whole2::Xor),
            ("shl", _) => Some(Whole2::Shl),
            ("shr", _) => Some(if signed { Whole2::ShrS } else { Whole2::ShrU }),
            ("min", _) => Some(if signed { Whole2::MinS } else { Whole2::MinU }),
            ("max", _) => Some(if signed { Whole2::MaxS } else { Whole2::MaxU }),
            ("div", _) => Some(if signed { Whole2::DivS } else { Whole2::DivU }),
            ("rem", _) => Some(if signed { Whole2::RemS } else { Whole2::RemU }),
            _ => None,
        };
        if let Some(two) = two {
            let op = match kind.size() {
                8 => Op::Wide2(two),
                4 => Op::Word2(two),
                2 => Op::Half2(two),
                _ => return Err("8 bits are not known for it".into()),
            };
            // Shifts count in 32 bits.
            let second = if matches!(parts[0], "shl" | "shr") { Type::U32 } else { kind };
            return self.plain_of(op, &[kind, second]);
        }
        let one = match (parts[0], has("shiftamt")) {
            ("not" | "cnot", _) if parts[0] == "not" => Whole1::Not,
            ("neg", _) => Whole1::Neg,
            ("abs", _) => Whole1::Abs,
            ("popc", _) => Whole1::Ones,
            ("clz", _) => Whole1::LeadingZeros,
            ("brev", _) => Whole1::Reverse,
            ("bfind", false) => {
                if signed {
                    Whole1::FindS
                } else {
                    Whole1::FindU
                }
            }
            ("bfind", true) => {
                if signed {
                    Whole1::FindShiftS
                } else {
                    Whole1::FindShiftU
                }
            }
            ("mad", _) if has("lo") => {
                let op = match kind.size() {
                    8 => Op::Mad64,
                    4 => Op::Mad32,
                    _ => Op::Mad16,
                };
                return self.plain_of(op, &[kind; 3]);
            }
            _ => return Err("it is not known here".into()),
        };
        self.plain(
            match kind.size() {
                8 => Op::Wide1(one),
                4 => Op::Word1(one),
                2 => Op::Half1(one),
                _ => return Err("8 bits are not known for it".into()),
            },
            kind,
        )
    }

    fn float(&mut self, parts: &[&str], kind: Type) -> Lowered {
        let single = kind == Type::F32;
        let two = match parts[0] {
            "add" => Some(Float2::Add),
            "sub" => Some(Float2::Sub),
            "mul" => Some(Float2::Mul),
            "div" => Some(Float2::Div),
            "min" if !parts.contains(&"NaN") => Some(Float2::Min),
            "max" if !parts.contains(&"NaN") => Some(Float2::Max),
            "copysign" => Some(Float2::CopySign),
            _ => None,
        };
        if let Some(two) = two {
            return self.plain_of(if single { Op::Float32(two) } else { Op::Float64(two) }, &[kind; 2]);
        }
        let one = match parts[0] {
            "neg" => Float1::Neg,
            "abs" => Float1::Abs,
            "sqrt" => Float1::Sqrt,
            "rcp" => Float1::Reciprocal,
            "fma" | "mad" => return self.plain_of(if single { Op::Fma32 } else { Op::Fma64 }, &[kind; 3]),
            _ => return Err("it is not known here".into()),
        };
        self.plain(if single { Op::Float32One(one) } else { Op::Float64One(one) }, kind)
    }
}
