//! From statements to code: opcodes are understood, calls are inlined, registers get places.

use crate::Error;
use crate::code::*;
use crate::memory::{LOCAL_BASE, MODULE_BASE, SHARED_BASE};
use crate::parse::{Function, Instruction, Kind, Module, Operand, Statement, type_size};
use std::collections::BTreeMap;

mod allocate;
mod opcode;

/// Functions that call each other this deep are taken for a recursion.
const DEPTH_MAX: usize = 24;

/// A module that can be executed.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) kernels: Vec<Kernel>,
    pub(crate) image: Vec<u8>,
}

impl Program {
    /// The kernel of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn kernel(&self, name: &str) -> Result<&Kernel, Error> {
        let found = self.kernels.iter().find(|kernel| kernel.name == name);
        found.ok_or_else(|| Error::NoKernel(name.to_owned()))
    }

    /// All kernels, in the order of the text.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }
}

/// Makes all kernels of a module executable.
///
/// # Errors
/// Names the first instruction that is not known.
pub fn lower(module: &Module) -> Result<Program, Error> {
    let mut image = Vec::new();
    let mut names = BTreeMap::new();
    let mut shared = BTreeMap::new();
    let mut shared_bytes = 0;
    for variable in &module.variables {
        if variable.space == "shared" {
            shared_bytes = align(shared_bytes, variable.align);
            shared.insert(variable.name.clone(), SHARED_BASE + shared_bytes as u64);
            shared_bytes += variable.size;
            continue;
        }
        image.resize(align(image.len(), variable.align), 0);
        names.insert(variable.name.clone(), MODULE_BASE + image.len() as u64);
        image.extend_from_slice(&variable.bytes);
        image.resize(image.len() + variable.size - variable.bytes.len(), 0);
    }
    names.extend(shared);
    let kernels = module.functions.iter().filter(|function| function.entry).map(|function| {
        let mut lowering = Lowering::new(module, &names, function, shared_bytes);
        lowering.body(function, &Place { prefix: String::new(), end: None, variables: BTreeMap::new() }, 0)?;
        lowering.finish()
    });
    Ok(Program { kernels: kernels.collect::<Result<_, _>>()?, image })
}

fn wrong_at(function: &Function, line: u32, instruction: &Instruction, why: &str) -> Error {
    Error::Instruction {
        line,
        kernel: function.name.clone(),
        instruction: instruction.to_string(),
        why: why.to_owned(),
    }
}

fn align(size: usize, to: usize) -> usize {
    size.next_multiple_of(to.max(1))
}

/// One function as it stands in a kernel: itself, or inlined.
struct Place {
    /// Before the names of its registers and labels.
    prefix: String,
    /// Where `ret` goes, if not out of the kernel.
    end: Option<String>,
    /// Addresses of its parameters and results in local memory.
    variables: BTreeMap<String, u64>,
}

struct Lowering<'a> {
    module: &'a Module,
    globals: &'a BTreeMap<String, u64>,
    kernel: &'a Function,
    code: Vec<Inst>,
    origins: Vec<Origin>,
    origin: Origin,
    accesses: Vec<Access>,
    tables: Vec<Vec<String>>,
    labels: BTreeMap<String, usize>,
    branches: Vec<(usize, String)>,
    registers: BTreeMap<String, u32>,
    classes: Vec<Class>,
    fixed: BTreeMap<(Class, Fixed), u32>,
    parameters: BTreeMap<String, u32>,
    parameter_bytes: usize,
    local_bytes: usize,
    shared_bytes: usize,
    inlined: usize,
}

impl<'a> Lowering<'a> {
    fn new(
        module: &'a Module,
        globals: &'a BTreeMap<String, u64>,
        kernel: &'a Function,
        shared_bytes: usize,
    ) -> Lowering<'a> {
        let (mut parameters, mut bytes) = (BTreeMap::new(), 0);
        for parameter in &kernel.parameters {
            bytes = align(bytes, parameter.align);
            parameters.insert(parameter.name.clone(), bytes as u32);
            bytes += parameter.size;
        }
        Lowering {
            module,
            globals,
            kernel,
            code: Vec::new(),
            origins: Vec::new(),
            origin: Origin { line: 0, source: None, text: String::new() },
            accesses: Vec::new(),
            tables: Vec::new(),
            labels: BTreeMap::new(),
            branches: Vec::new(),
            registers: BTreeMap::new(),
            classes: Vec::new(),
            fixed: BTreeMap::new(),
            parameters,
            parameter_bytes: bytes,
            local_bytes: 0,
            shared_bytes,
            inlined: 0,
        }
    }

    fn body(&mut self, function: &'a Function, place: &Place, depth: usize) -> Result<(), Error> {
        let mut place =
            Place { prefix: place.prefix.clone(), end: place.end.clone(), variables: place.variables.clone() };
        for variable in &function.variables {
            let (bytes, base) = match variable.space.as_str() {
                "shared" => (&mut self.shared_bytes, SHARED_BASE),
                _ => (&mut self.local_bytes, LOCAL_BASE),
            };
            *bytes = align(*bytes, variable.align);
            place.variables.insert(variable.name.clone(), base + *bytes as u64);
            *bytes += variable.size;
        }
        self.emit(Inst::of(Op::Block));
        for statement in &function.body {
            self.origin = Origin {
                line: statement.line,
                source: statement.source.map(|source| self.module.place(source)),
                text: match &statement.kind {
                    Kind::Label(name) => format!("{name}:"),
                    Kind::Instruction(instruction) => instruction.to_string(),
                },
            };
            match &statement.kind {
                Kind::Label(name) => self.label(format!("{}{name}", place.prefix)),
                Kind::Instruction(instruction) if instruction.parts()[0] == "call" => {
                    self.call(function, statement, instruction, &place, depth)?;
                }
                Kind::Instruction(instruction) => self
                    .instruction(function, instruction, &place)
                    .map_err(|why| wrong_at(function, statement.line, instruction, &why))?,
            }
        }
        Ok(())
    }

    fn label(&mut self, name: String) {
        self.labels.insert(name, self.code.len());
        self.emit(Inst::of(Op::Block));
    }

    fn emit(&mut self, inst: Inst) {
        self.code.push(inst);
        self.origins.push(self.origin.clone());
        // What stands behind a jump is a block of its own.
        if matches!(inst.op, Op::Branch | Op::BranchTable | Op::Exit | Op::Barrier) {
            self.code.push(Inst::of(Op::Block));
            self.origins.push(self.origin.clone());
        }
    }

    /// A call is replaced by the body of what it calls; parameters and results stand in local memory.
    fn call(
        &mut self,
        function: &'a Function,
        statement: &Statement,
        instruction: &Instruction,
        place: &Place,
        depth: usize,
    ) -> Result<(), Error> {
        let wrong = |why: &str| wrong_at(function, statement.line, instruction, why);
        let (mut results, mut name, mut arguments) = (Vec::new(), None, Vec::new());
        for operand in &instruction.operands {
            match operand {
                Operand::Group(names) if name.is_none() => results = names.clone(),
                Operand::Group(names) => arguments = names.clone(),
                Operand::Name(called) if name.is_none() => name = Some(called.clone()),
                _ => return Err(wrong("only a call of a function by its name is known")),
            }
        }
        let called = name.and_then(|name| self.module.function(&name));
        let called = called.ok_or_else(|| wrong("the PTX has no such function"))?;
        if depth > DEPTH_MAX {
            return Err(wrong("functions call each other without an end"));
        }
        if instruction.guard.is_some() {
            return Err(wrong("a call under a guard is not known"));
        }
        self.inlined += 1;
        let mut inner = Place {
            prefix: format!("{}#{} ", place.prefix, self.inlined),
            end: Some(format!("{}#{} end", place.prefix, self.inlined)),
            variables: BTreeMap::new(),
        };
        let given = arguments.iter().zip(&called.parameters).chain(results.iter().zip(&called.results));
        for (operand, variable) in given {
            let address = match operand {
                Operand::Name(name) | Operand::Register(name) => place.variables.get(name),
                _ => None,
            };
            let address = address.ok_or_else(|| wrong("only .param variables are known as arguments"))?;
            inner.variables.insert(variable.name.clone(), *address);
        }
        self.body(called, &inner, depth + 1)?;
        let end = inner.end.expect("it was set");
        self.label(end);
        Ok(())
    }

    /// The register of this name in this function.
    fn register(&mut self, function: &Function, place: &Place, name: &str) -> Result<u32, String> {
        let key = format!("{}{name}", place.prefix);
        if let Some(id) = self.registers.get(&key) {
            return Ok(*id);
        }
        let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
        let kind = function.registers.get(name).or_else(|| function.registers.get(prefix));
        let kind = kind.ok_or_else(|| format!("the register {name} is not declared"))?;
        let class = match kind.as_str() {
            "pred" => Class::Predicate,
            kind if type_size(kind) == Some(8) => Class::Wide,
            _ => Class::Word,
        };
        let id = self.temporary(class);
        self.registers.insert(key, id);
        Ok(id)
    }

    fn temporary(&mut self, class: Class) -> u32 {
        self.classes.push(class);
        self.classes.len() as u32 - 1
    }

    fn fixed(&mut self, class: Class, value: Fixed) -> u32 {
        if let Some(id) = self.fixed.get(&(class, value)) {
            return *id;
        }
        let id = self.temporary(class);
        self.fixed.insert((class, value), id);
        id
    }

    fn finish(mut self) -> Result<Kernel, Error> {
        let ends = matches!(self.code.last(), Some(Inst { op: Op::Exit, guard: NONE, .. }));
        if !ends {
            self.emit(Inst::of(Op::Exit));
        }
        let missing = |name: &str| Error::Instruction {
            line: 0,
            kernel: self.kernel.name.clone(),
            instruction: name.to_owned(),
            why: "there is no such label".into(),
        };
        for (at, label) in &self.branches {
            let target = self.labels.get(label).ok_or_else(|| missing(label))?;
            self.code[*at].x = *target as u32;
        }
        let mut tables = Vec::new();
        for table in &self.tables {
            let targets = table.iter().map(|label| self.labels.get(label).map(|at| *at as u32));
            let targets: Option<Vec<u32>> = targets.collect();
            tables.push(targets.ok_or_else(|| missing("a table of branch targets"))?);
        }
        let mut blocks: Vec<Block> = Vec::new();
        for (at, inst) in self.code.iter_mut().enumerate() {
            match (&inst.op, blocks.last_mut()) {
                (Op::Block, _) => {
                    inst.x = blocks.len() as u32;
                    blocks.push(Block { first: at as u32, count: 0 });
                }
                (_, Some(block)) => block.count += 1,
                (_, None) => unreachable!("a body begins with a block"),
            }
        }
        let fixed: Vec<(u32, Fixed)> = self.fixed.iter().map(|((_, value), id)| (*id, *value)).collect();
        let (places, fixed) = allocate::places(&mut self.code, &mut self.accesses, &tables, &self.classes, &fixed);
        let waits = self.code.iter().any(|inst| inst.op == Op::Barrier);
        Ok(Kernel {
            name: self.kernel.name.clone(),
            waits,
            code: self.code,
            origins: self.origins,
            blocks,
            accesses: self.accesses,
            tables,
            places,
            fixed,
            parameter_bytes: self.parameter_bytes,
            local_bytes: align(self.local_bytes, 16),
            shared_bytes: align(self.shared_bytes, 16),
        })
    }
}
