//! Reads PTX text into functions of statements, every one with its line.
//!
//! It keeps opcodes as the text has them: what they mean is decided where they are lowered, and what is wrong with them
//! where they are linted.

use crate::Error;
use std::collections::BTreeMap;

/// A whole file.
#[derive(Debug, Clone, Default)]
pub struct Module {
    /// The PTX version, such as `9.0`.
    pub version: String,
    /// The target, such as `sm_90`.
    pub target: String,
    /// Variables outside of functions, in `.global` and `.const`.
    pub variables: Vec<Variable>,
    /// Kernels and functions.
    pub functions: Vec<Function>,
    /// The files of `.loc` directives, by number.
    pub files: BTreeMap<u32, String>,
}

impl Module {
    /// The function of this name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }
}

/// A variable in some state space.
#[derive(Debug, Clone)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its space: `global`, `const`, `local`, `shared`, `param`.
    pub space: String,
    /// Bytes.
    pub size: usize,
    /// A power of two.
    pub align: usize,
    /// What it starts with; empty for zeros.
    pub bytes: Vec<u8>,
}

/// A kernel or a function.
#[derive(Debug, Clone, Default)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Whether it can be launched.
    pub entry: bool,
    /// Its parameters, in order.
    pub parameters: Vec<Variable>,
    /// What it returns.
    pub results: Vec<Variable>,
    /// Registers: prefix (`%rd`) or name to type.
    pub registers: BTreeMap<String, String>,
    /// `.local` and `.shared` variables, and the parameters of calls.
    pub variables: Vec<Variable>,
    /// Tables of `brx.idx`.
    pub tables: BTreeMap<String, Vec<String>>,
    /// The body.
    pub body: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its line, counted from 1.
    pub line: u32,
    /// The line of the source that it was made from, where the PTX tells: file number and line.
    pub source: Option<(u32, u32)>,
    /// What it is.
    pub kind: Kind,
}

/// What a statement is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `name:`
    Label(String),
    /// `@guard opcode operands;`
    Instruction(Instruction),
}

/// An instruction as it is written.
#[derive(Debug, Clone)]
pub struct Instruction {
    /// The predicate and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// The opcode with its suffixes.
    pub opcode: String,
    /// The operands.
    pub operands: Vec<Operand>,
}

impl Instruction {
    /// The suffixes of the opcode, the name first.
    pub fn parts(&self) -> Vec<&str> {
        self.opcode.split('.').collect()
    }
}

/// An operand as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// A register, `%r1`; special ones too.
    Register(String),
    /// Bits of a whole number.
    Whole(i128),
    /// Bits of a single.
    Single(u32),
    /// Bits of a double.
    Double(u64),
    /// A label, a variable or a function.
    Name(String),
    /// `[base+offset]`
    Address(Box<Operand>, i64),
    /// `{a, b}` or, of a call, `(a, b)`
    Group(Vec<Operand>),
    /// `p|q`
    Pair(String, String),
    /// `!p`
    Not(String),
}

/// The text of an instruction, for messages.
impl std::fmt::Display for Instruction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((name, negated)) = &self.guard {
            write!(f, "@{}{name} ", if *negated { "!" } else { "" })?;
        }
        write!(f, "{}", self.opcode)?;
        for (i, operand) in self.operands.iter().enumerate() {
            write!(f, "{}{operand}", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Operand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Operand::Register(name) | Operand::Name(name) => write!(f, "{name}"),
            Operand::Whole(value) => write!(f, "{value}"),
            Operand::Single(bits) => write!(f, "0f{bits:08X}"),
            Operand::Double(bits) => write!(f, "0d{bits:016X}"),
            Operand::Address(base, 0) => write!(f, "[{base}]"),
            Operand::Address(base, offset) => write!(f, "[{base}{offset:+}]"),
            Operand::Group(parts) => {
                write!(f, "{{")?;
                for (i, part) in parts.iter().enumerate() {
                    write!(f, "{}{part}", if i == 0 { "" } else { ", " })?;
                }
                write!(f, "}}")
            }
            Operand::Pair(first, second) => write!(f, "{first}|{second}"),
            Operand::Not(name) => write!(f, "!{name}"),
        }
    }
}

/// Bytes of a type such as `.b32`.
pub fn type_size(name: &str) -> Option<usize> {
    Some(match name {
        "pred" => 1,
        "b8" | "u8" | "s8" => 1,
        "b16" | "u16" | "s16" | "f16" => 2,
        "b32" | "u32" | "s32" | "f32" => 4,
        "b64" | "u64" | "s64" | "f64" => 8,
        _ => return None,
    })
}

/// Reads PTX.
///
/// # Errors
/// Names the line that can't be read.
pub fn parse(text: &str) -> Result<Module, Error> {
    let tokens = tokens(text)?;
    let mut reader = Reader { tokens: &tokens, at: 0 };
    let mut module = Module::default();
    let mut aliases = Aliases::default();
    while let Some(token) = reader.peek() {
        match token.text {
            ".version" => {
                reader.next();
                module.version = reader.word()?.to_owned();
            }
            ".target" => {
                reader.next();
                module.target = reader.word()?.to_owned();
                while reader.take(",") {
                    reader.word()?;
                }
            }
            ".address_size" => {
                reader.next();
                let size = reader.word()?;
                if size != "64" {
                    return Err(reader.wrong("only 64-bit addresses are known"));
                }
            }
            ".file" => {
                reader.next();
                let number = reader.number()? as u32;
                module.files.insert(number, reader.word()?.trim_matches('"').to_owned());
                while reader.take(",") {
                    reader.word()?;
                }
            }
            ".section" => {
                reader.next();
                reader.word()?;
                reader.skip_braces()?;
            }
            ".visible" | ".weak" | ".extern" | ".common" => {
                reader.next();
            }
            ".entry" | ".func" => {
                if let Some(function) = function(&mut reader, &mut aliases)? {
                    module.functions.push(function);
                }
            }
            ".global" | ".const" | ".shared" => module.variables.push(variable(&mut reader)?),
            _ => return Err(reader.wrong(&format!("{:?} is not known outside of a function", token.text))),
        }
    }
    Ok(module)
}

struct Token<'a> {
    text: &'a str,
    line: u32,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Error> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    let mut tokens = Vec::new();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.');
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'\n' => {
                line += 1;
                at += 1;
                continue;
            }
            byte if byte.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while at < bytes.len() && bytes[at] != b'\n' {
                    at += 1;
                }
                continue;
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = text[at..].find("*/").ok_or_else(|| Error::syntax(line, "a comment does not end"))?;
                line += text[at..at + end].matches('\n').count() as u32;
                at += end + 2;
                continue;
            }
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1;
                }
                at += 1;
                if at > bytes.len() {
                    return Err(Error::syntax(line, "a string does not end"));
                }
            }
            byte if is_word(byte) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
            }
            _ => at += 1,
        }
        // A character outside of ASCII is one token, whatever follows.
        while !text.is_char_boundary(at) {
            at += 1;
        }
        tokens.push(Token { text: &text[start..at], line });
    }
    Ok(tokens)
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token<'a>> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn line(&self) -> u32 {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.at.min(last)).map_or(0, |token| token.line)
    }

    fn wrong(&self, why: &str) -> Error {
        Error::syntax(self.line(), why)
    }

    fn word(&mut self) -> Result<&'a str, Error> {
        self.next().map(|token| token.text).ok_or_else(|| Error::syntax(0, "the text ends too early"))
    }

    fn take(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.text == text);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, text: &str) -> Result<(), Error> {
        if self.take(text) { Ok(()) } else { Err(self.wrong(&format!("{text:?} is missing"))) }
    }

    fn number(&mut self) -> Result<i128, Error> {
        let negative = self.take("-");
        let line = self.line();
        let value = whole(self.word()?).ok_or_else(|| Error::syntax(line, "a whole number is missing"))?;
        Ok(if negative { -value } else { value })
    }

    fn skip_braces(&mut self) -> Result<(), Error> {
        self.expect("{")?;
        let mut depth = 1;
        while depth > 0 {
            match self.word()? {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }

    fn skip_statement(&mut self) -> Result<(), Error> {
        while self.word()? != ";" {}
        Ok(())
    }
}

fn whole(text: &str) -> Option<i128> {
    let text = text.strip_suffix('U').unwrap_or(text);
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A declaration such as `.global .align 4 .b8 name[8] = {1, 2};`, or of a parameter without its semicolon.
fn declaration(reader: &mut Reader<'_>) -> Result<Variable, Error> {
    let space = reader.word()?.trim_start_matches('.').to_owned();
    let (mut align, mut size, mut lanes) = (0, 0, 1);
    let name = loop {
        let word = reader.word()?;
        match word {
            ".align" => align = reader.number()? as usize,
            ".ptr" | ".global" | ".const" | ".attribute" => {}
            ".v2" => lanes = 2,
            ".v4" => lanes = 4,
            _ if word.starts_with('.') => {
                let known = type_size(&word[1..]);
                size = known.ok_or_else(|| reader.wrong(&format!("{word} is not a known type")))?;
            }
            _ => break word.to_owned(),
        }
    };
    let element = size * lanes;
    if element == 0 || align > 4096 {
        return Err(reader.wrong(&format!("the declaration of {name} is not understood")));
    }
    let mut bytes_total = element;
    while reader.take("[") {
        // An array without a size has that of what it starts with, or is given at the launch.
        if reader.take("]") {
            bytes_total = 0;
        } else {
            let count = reader.number()?;
            reader.expect("]")?;
            let known = usize::try_from(count).ok().and_then(|count| bytes_total.checked_mul(count));
            bytes_total = known
                .filter(|total| *total <= 1 << 32)
                .ok_or_else(|| reader.wrong(&format!("{name} is larger than 4 GiB")))?;
        }
    }
    let mut bytes = Vec::new();
    if reader.take("=") {
        initial(reader, size, &mut bytes)?;
    }
    Ok(Variable { name, space, size: bytes_total.max(bytes.len()), align: align.max(size), bytes })
}

fn initial(reader: &mut Reader<'_>, size: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
    if reader.take("{") {
        while !reader.take("}") {
            initial(reader, size, bytes)?;
            reader.take(",");
        }
        return Ok(());
    }
    let line = reader.line();
    let negative = reader.take("-");
    let word = reader.word()?;
    let bits = match (word.strip_prefix("0f"), word.strip_prefix("0d"), whole(word)) {
        (Some(digits), _, _) => u64::from_str_radix(digits, 16).ok(),
        (_, Some(digits), _) => u64::from_str_radix(digits, 16).ok(),
        (_, _, Some(value)) => Some((if negative { -value } else { value }) as u64),
        _ => None,
    };
    let bits = bits.ok_or_else(|| Error::syntax(line, "only numbers are known as the start of a variable"))?;
    bytes.extend_from_slice(&bits.to_le_bytes()[..size]);
    Ok(())
}

fn variable(reader: &mut Reader<'_>) -> Result<Variable, Error> {
    let variable = declaration(reader)?;
    reader.expect(";")?;
    Ok(variable)
}

fn variables_in_parentheses(reader: &mut Reader<'_>) -> Result<Vec<Variable>, Error> {
    let mut all = Vec::new();
    if reader.take("(") {
        while !reader.take(")") {
            all.push(declaration(reader)?);
            reader.take(",");
        }
    }
    Ok(all)
}

/// Names of registers that were declared inside of braces: a second one of the same name is another register.
#[derive(Default)]
struct Aliases {
    count: usize,
    scopes: Vec<BTreeMap<String, String>>,
}

impl Aliases {
    fn declare(&mut self, name: &str) -> String {
        if self.scopes.is_empty() {
            return name.to_owned();
        }
        self.count += 1;
        let alias = format!("{name}~{}", self.count);
        self.scopes.last_mut().expect("there is a scope").insert(name.to_owned(), alias.clone());
        alias
    }

    fn find(&self, name: &str) -> String {
        let found = self.scopes.iter().rev().find_map(|scope| scope.get(name));
        found.map_or_else(|| name.to_owned(), Clone::clone)
    }
}

fn function(reader: &mut Reader<'_>, aliases: &mut Aliases) -> Result<Option<Function>, Error> {
    let entry = reader.word()? == ".entry";
    let results = if entry { Vec::new() } else { variables_in_parentheses(reader)? };
    let name = reader.word()?.to_owned();
    let parameters = variables_in_parentheses(reader)?;
    let mut function = Function { name, entry, parameters, results, ..Function::default() };
    // Directives such as .noreturn, .maxntid, .reqntid and .minnctapersm.
    while !reader.take("{") {
        if reader.take(";") {
            return Ok(None);
        }
        reader.word()?;
    }
    let (mut depth, mut source) = (1, None);
    while depth > 0 {
        let line = reader.line();
        let token = reader.peek().ok_or_else(|| reader.wrong("a function does not end"))?.text;
        match token {
            "{" => {
                reader.next();
                depth += 1;
                aliases.scopes.push(BTreeMap::new());
            }
            "}" => {
                reader.next();
                depth -= 1;
                aliases.scopes.pop();
            }
            ".reg" => registers(reader, &mut function, aliases)?,
            ".local" | ".shared" | ".param" => {
                let mut variable = variable(reader)?;
                variable.name = aliases.declare(&variable.name);
                function.variables.push(variable);
            }
            ".loc" => {
                reader.next();
                let (file, line) = (reader.number()? as u32, reader.number()? as u32);
                reader.number()?;
                while reader.take(",") {
                    inlined(reader)?;
                }
                source = (line != 0).then_some((file, line));
            }
            ".pragma" | ".callprototype" => reader.skip_statement()?,
            _ if reader.tokens.get(reader.at + 1).is_some_and(|next| next.text == ":") => {
                let label = reader.word()?.to_owned();
                reader.next();
                if reader.take(".branchtargets") {
                    let mut targets = vec![reader.word()?.to_owned()];
                    while reader.take(",") {
                        targets.push(reader.word()?.to_owned());
                    }
                    reader.expect(";")?;
                    function.tables.insert(label, targets);
                } else if reader.take(".callprototype") {
                    reader.skip_statement()?;
                } else {
                    function.body.push(Statement { line, source, kind: Kind::Label(label) });
                }
            }
            _ => {
                let kind = Kind::Instruction(instruction(reader, aliases)?);
                function.body.push(Statement { line, source, kind });
            }
        }
    }
    Ok(Some(function))
}

/// What follows the comma of a `.loc`.
fn inlined(reader: &mut Reader<'_>) -> Result<(), Error> {
    match reader.word()? {
        "function_name" => {
            reader.word()?;
            if reader.take("+") {
                reader.number()?;
            }
        }
        "inlined_at" => {
            for _ in 0..3 {
                reader.number()?;
            }
        }
        _ => return Err(reader.wrong("a .loc is not understood")),
    }
    Ok(())
}

/// `.reg .b32 %r<10>;` or `.reg .b32 name, other;`
fn registers(reader: &mut Reader<'_>, function: &mut Function, aliases: &mut Aliases) -> Result<(), Error> {
    reader.next();
    let kind = reader.word()?.trim_start_matches('.').to_owned();
    if type_size(&kind).is_none() {
        return Err(reader.wrong(&format!("registers of type .{kind} are not known")));
    }
    loop {
        let name = reader.word()?;
        if reader.take("<") {
            reader.number()?;
            reader.expect(">")?;
            function.registers.insert(name.to_owned(), kind.clone());
        } else {
            function.registers.insert(aliases.declare(name), kind.clone());
        }
        if !reader.take(",") {
            return reader.expect(";");
        }
    }
}

fn instruction(reader: &mut Reader<'_>, aliases: &Aliases) -> Result<Instruction, Error> {
    let mut guard = None;
    if reader.take("@") {
        let negated = reader.take("!");
        guard = Some((aliases.find(reader.word()?), negated));
    }
    let opcode = reader.word()?.to_owned();
    let mut operands = Vec::new();
    while !reader.take(";") {
        operands.push(operand(reader, aliases)?);
        if !reader.take(",") && reader.peek().is_some_and(|token| token.text != ";") {
            return Err(reader.wrong(&format!("the operands of {opcode} are not understood")));
        }
    }
    Ok(Instruction { guard, opcode, operands })
}

fn operand(reader: &mut Reader<'_>, aliases: &Aliases) -> Result<Operand, Error> {
    let line = reader.line();
    let wrong = |why: &str| Error::syntax(line, why);
    match reader.word()? {
        "[" => {
            let base = operand(reader, aliases)?;
            let offset = if reader.take("+") { reader.number()? } else { 0 };
            reader.expect("]")?;
            Ok(Operand::Address(Box::new(base), i64::try_from(offset).map_err(|_| wrong("an offset is too large"))?))
        }
        open @ ("{" | "(") => {
            let close = if open == "{" { "}" } else { ")" };
            let mut parts = Vec::new();
            while !reader.take(close) {
                parts.push(operand(reader, aliases)?);
                reader.take(",");
            }
            Ok(Operand::Group(parts))
        }
        "!" => Ok(Operand::Not(aliases.find(reader.word()?))),
        "-" => Ok(Operand::Whole(-reader.number()?)),
        word if word.len() == 10 && word.starts_with("0f") => {
            u32::from_str_radix(&word[2..], 16).map(Operand::Single).map_err(|_| wrong("a single is not understood"))
        }
        word if word.len() == 18 && word.starts_with("0d") => {
            u64::from_str_radix(&word[2..], 16).map(Operand::Double).map_err(|_| wrong("a double is not understood"))
        }
        word if word.starts_with(|first: char| first.is_ascii_digit()) => {
            whole(word).map(Operand::Whole).ok_or_else(|| wrong(&format!("{word} is not a number")))
        }
        word => {
            let name = aliases.find(word);
            if reader.take("|") {
                return Ok(Operand::Pair(name, aliases.find(reader.word()?)));
            }
            let is_register = word.starts_with('%') || name != word;
            Ok(if is_register { Operand::Register(name) } else { Operand::Name(name) })
        }
    }
}
