//! A kernel in the form in which it is executed: registers are numbered places, labels are indices.
//!
//! Immediate values and special registers have places too, filled before a warp starts, so that an operand is always a
//! place and the hot loop asks no question about it.

/// No register.
pub(crate) const NONE: u32 = u32::MAX;

/// Which file a register stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Class {
    /// 32 bits or less.
    Word,
    /// 64 bits.
    Wide,
    /// One bit.
    Predicate,
}

/// A type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    S8,
    U16,
    S16,
    U32,
    S32,
    U64,
    S64,
    F32,
    F64,
}

impl Type {
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "b8" | "u8" => Type::U8,
            "s8" => Type::S8,
            "b16" | "u16" => Type::U16,
            "s16" => Type::S16,
            "b32" | "u32" => Type::U32,
            "s32" => Type::S32,
            "b64" | "u64" => Type::U64,
            "s64" => Type::S64,
            "f32" => Type::F32,
            "f64" => Type::F64,
            _ => return None,
        })
    }

    pub fn size(self) -> usize {
        match self {
            Type::U8 | Type::S8 => 1,
            Type::U16 | Type::S16 => 2,
            Type::U32 | Type::S32 | Type::F32 => 4,
            Type::U64 | Type::S64 | Type::F64 => 8,
        }
    }

    pub fn signed(self) -> bool {
        matches!(self, Type::S8 | Type::S16 | Type::S32 | Type::S64)
    }

    pub fn float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    pub fn class(self) -> Class {
        if self.size() == 8 { Class::Wide } else { Class::Word }
    }
}

/// Two whole numbers to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole2 {
    Add,
    Sub,
    Mul,
    MulHighU,
    MulHighS,
    And,
    Or,
    Xor,
    Shl,
    ShrU,
    ShrS,
    MinU,
    MaxU,
    MinS,
    MaxS,
    DivU,
    DivS,
    RemU,
    RemS,
}

/// One whole number to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whole1 {
    Not,
    Neg,
    Abs,
    Reverse,
    Ones,
    LeadingZeros,
    FindU,
    FindS,
    FindShiftU,
    FindShiftS,
}

/// Two floats to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float2 {
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    CopySign,
}

/// One float to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Float1 {
    Neg,
    Abs,
    Sqrt,
    Reciprocal,
}

/// A comparison. Those with a `u` behind them are true where a side is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    EqU,
    NeU,
    LtU,
    LeU,
    GtU,
    GeU,
    Number,
    NotNumber,
}

/// Two predicates to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logic {
    And,
    Or,
    Xor,
}

/// How a conversion rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rounding {
    Nearest,
    Zero,
    Down,
    Up,
}

/// What an atomic does to the word in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Atomic {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    /// `b` is what is expected, `c` what is stored.
    CompareExchange,
}

/// What lanes of a warp tell each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// A vote of the lanes of a warp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vote {
    All,
    Any,
    Uniform,
    Ballot,
}

/// What an instruction does with its places `a`, `b`, `c` and `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// The begin of a block; `x` is its number.
    Block,
    Word2(Whole2),
    Word1(Whole1),
    Wide2(Whole2),
    Wide1(Whole1),
    /// 16 bits, in places of 32.
    Half2(Whole2),
    Half1(Whole1),
    /// `d = a * b + c`.
    Mad32,
    Mad64,
    Mad16,
    /// Both factors of the narrower type, the product of the wider.
    MulWide(Type),
    MadWide(Type),
    /// Bytes of `a` and `b`, chosen by `c`.
    Permute,
    /// The upper (or lower) word of `b:a`, shifted by `c`; `true` wraps the count.
    FunnelLeft(bool),
    FunnelRight(bool),
    Extract(Type),
    Insert32,
    Insert64,
    /// `x` is the table.
    Lop3,
    Float32(Float2),
    Float64(Float2),
    Float32One(Float1),
    Float64One(Float1),
    Fma32,
    Fma64,
    Set(Compare, Type),
    /// `c` is the predicate.
    Select32,
    Select64,
    Logic(Logic),
    LogicNot,
    LogicMove,
    Move32,
    Move64,
    /// 64 bits of two words, low first.
    Pack,
    Low,
    High,
    Pack16,
    Low16,
    High16,
    Convert {
        from: Type,
        to: Type,
        round: Option<Rounding>,
        saturate: bool,
    },
    /// `x` is the offset in the kernel's parameters; whether its place is wide.
    Parameter(Type, bool),
    /// `x` is its access.
    Load,
    Store,
    Atomic(Atomic, Type),
    /// `x` is the target; the guard decides.
    Branch,
    /// `x` is the table, `a` the index.
    BranchTable,
    Exit,
    Barrier,
    Trap,
    Nothing,
    Shuffle(Shuffle),
    /// Whether the lane that it asks is inside of its segment.
    ShuffleInside(Shuffle),
    Vote(Vote),
    ActiveMask,
}

/// A state space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Generic,
    Global,
    Local,
    Shared,
}

/// An access to memory.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub space: Space,
    pub kind: Type,
    pub offset: i64,
    /// The registers that are loaded or stored, one or, of a vector, up to four.
    pub registers: Vec<u32>,
    /// Whether they are of 64 bits, whatever the size in memory.
    pub wide: bool,
}

/// One instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inst {
    pub op: Op,
    /// The predicate under which it is executed, or `NONE`.
    pub guard: u32,
    pub negated: bool,
    pub d: u32,
    pub a: u32,
    pub b: u32,
    pub c: u32,
    pub x: u32,
}

impl Inst {
    pub fn of(op: Op) -> Self {
        Inst { op, guard: NONE, negated: false, d: NONE, a: NONE, b: NONE, c: NONE, x: 0 }
    }
}

/// Where an instruction comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub line: u32,
    pub source: Option<String>,
    pub text: String,
}

/// A straight stretch of instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    pub first: u32,
    /// Instructions that are counted.
    pub count: u32,
}

/// A special register, or a value that never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fixed {
    Word(u32),
    Wide(u64),
    True,
    False,
    Thread,
    Lane,
    BlockIndex,
    BlockSize,
    GridSize,
    /// Always 0: grids and blocks have one dimension.
    Zero,
    One,
}

/// A kernel that can be executed.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) code: Vec<Inst>,
    pub(crate) origins: Vec<Origin>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) accesses: Vec<Access>,
    pub(crate) tables: Vec<Vec<u32>>,
    /// Places in each file: words, wide words, predicates.
    pub(crate) places: [u32; 3],
    /// What stands in fixed places.
    pub(crate) fixed: Vec<(Class, u32, Fixed)>,
    pub(crate) parameter_bytes: usize,
    pub(crate) local_bytes: usize,
    pub(crate) shared_bytes: usize,
    /// Whether warps wait for each other, so that all of a block are alive at once.
    pub(crate) waits: bool,
}

impl Kernel {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Instructions of its text.
    pub fn instruction_count(&self) -> usize {
        self.blocks.iter().map(|block| block.count as usize).sum()
    }

    /// Bytes of local memory of each thread.
    pub fn local_bytes(&self) -> usize {
        self.local_bytes
    }

    /// Bytes of shared memory of each block.
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// Bytes of its parameters.
    pub fn parameter_bytes(&self) -> usize {
        self.parameter_bytes
    }
}
