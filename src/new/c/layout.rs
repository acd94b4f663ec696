//! What a struct of C looks like in memory, and which functions take it, from the compiler's own debugging information.

use gimli::{AttributeValue, DW_AT_const_value, DwAt, EndianSlice, RunTimeEndian, UnitOffset, constants};
use object::{Object as _, ObjectSection as _};
use std::borrow::Cow;
use std::path::Path;

type Slice<'a> = EndianSlice<'a, RunTimeEndian>;
type Unit<'a> = gimli::Unit<Slice<'a>>;
type Entry<'a> = gimli::DebuggingInformationEntry<Slice<'a>>;

/// A number that is somewhere in a struct, or an array of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Where it is, with `{}` for each index: `units[{}].hp`.
    pub path: String,
    /// Its sizes, the outermost first.
    pub sizes: Vec<u64>,
    /// What it is.
    pub scalar: Scalar,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scalar {
    /// As a manifest names it.
    pub dtype: &'static str,
    /// Whether it is a `bool`, kept as `u8`.
    pub boolean: bool,
}

/// A pointer in the struct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// Where it is.
    pub path: String,
    /// What it points to, where that is a number: as C spells it, and as a manifest does.
    pub target: Option<(String, Scalar)>,
}

/// A struct, flat.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// How C spells it: `MyEnv`, or `struct MyEnv`.
    pub spelled: String,
    /// The numbers.
    pub leaves: Vec<Leaf>,
    /// The pointers.
    pub pointers: Vec<Pointer>,
    /// What is neither, and why it can't be taken.
    pub strange: Vec<(String, String)>,
    /// The functions of one argument, a pointer to this struct.
    pub functions: Vec<String>,
}

/// Why a layout could not be found.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The compiler's output can't be read.
    #[error("what the compiler wrote can't be read: {0}")]
    Unreadable(String),
    /// There is no such struct.
    #[error("there is no struct {name}")]
    Missing {
        /// What was asked for.
        name: String,
        /// The structs that some function resets or steps.
        known: Vec<String>,
    },
}

fn unreadable(error: impl std::fmt::Display) -> LayoutError {
    LayoutError::Unreadable(error.to_string())
}

/// Structs deeper than this, and more places than this, are no state of an environment.
const DEPTH_MAX: usize = 12;
const PLACES_MAX: usize = 4_096;

/// Reads the layout of the struct `name` from a library that was compiled with `-g`.
///
/// # Errors
/// If there is none, or the library can't be read.
pub fn read(library: &Path, name: &str) -> Result<Layout, LayoutError> {
    let bytes = std::fs::read(library).map_err(unreadable)?;
    let file = object::File::parse(&*bytes).map_err(unreadable)?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let load = |id: gimli::SectionId| -> Result<Cow<'_, [u8]>, LayoutError> {
        match file.section_by_name(id.name()) {
            Some(section) => section.uncompressed_data().map_err(unreadable),
            None => Ok(Cow::Borrowed(&[])),
        }
    };
    let sections = gimli::DwarfSections::load(load)?;
    let dwarf = sections.borrow(|section| EndianSlice::new(section, endian));
    let mut known = Vec::new();
    let mut headers = dwarf.units();
    while let Some(header) = headers.next().map_err(unreadable)? {
        let unit = dwarf.unit(header).map_err(unreadable)?;
        let look = Look { dwarf: &dwarf, unit: &unit };
        if let Some(layout) = look.layout(name).map_err(unreadable)? {
            return Ok(layout);
        }
        known.extend(look.candidates().map_err(unreadable)?);
    }
    known.sort();
    known.dedup();
    Err(LayoutError::Missing { name: name.to_owned(), known })
}

struct Look<'a> {
    dwarf: &'a gimli::Dwarf<Slice<'a>>,
    unit: &'a Unit<'a>,
}

/// What a type is, as far as a state is concerned.
enum Kind {
    Number(Scalar),
    Pointer(Option<UnitOffset>),
    Array(UnitOffset, Vec<u64>),
    Struct,
    Strange(&'static str),
}

impl<'a> Look<'a> {
    fn text(&self, entry: &Entry<'a>, at: DwAt) -> gimli::Result<Option<String>> {
        let Some(value) = entry.attr_value(at) else { return Ok(None) };
        Ok(Some(self.dwarf.attr_string(self.unit, value)?.to_string_lossy().into_owned()))
    }

    fn number(entry: &Entry<'a>, at: DwAt) -> Option<u64> {
        entry.attr_value(at)?.udata_value()
    }

    fn type_of(entry: &Entry<'a>) -> Option<UnitOffset> {
        match entry.attr_value(constants::DW_AT_type)? {
            AttributeValue::UnitRef(offset) => Some(offset),
            _ => None,
        }
    }

    /// A type without its names and qualifiers.
    fn bare(&self, mut offset: UnitOffset) -> gimli::Result<Option<UnitOffset>> {
        for _ in 0..64 {
            let entry = self.unit.entry(offset)?;
            match entry.tag() {
                constants::DW_TAG_typedef
                | constants::DW_TAG_const_type
                | constants::DW_TAG_volatile_type
                | constants::DW_TAG_restrict_type
                | constants::DW_TAG_atomic_type => match Self::type_of(&entry) {
                    Some(next) => offset = next,
                    None => return Ok(None),
                },
                _ => return Ok(Some(offset)),
            }
        }
        Ok(None)
    }

    /// The entries right below one.
    fn children(&self, offset: UnitOffset) -> gimli::Result<Vec<Entry<'a>>> {
        let mut tree = self.unit.entries_tree(Some(offset))?;
        let mut children = tree.root()?.children();
        let mut found = Vec::new();
        while let Some(child) = children.next()? {
            found.push(child.entry().clone());
        }
        Ok(found)
    }

    fn top(&self) -> gimli::Result<Vec<Entry<'a>>> {
        self.children(self.unit.header.root_offset())
    }

    fn kind(&self, offset: UnitOffset) -> gimli::Result<Kind> {
        let Some(offset) = self.bare(offset)? else { return Ok(Kind::Strange("it has no type")) };
        let entry = self.unit.entry(offset)?;
        let size = Self::number(&entry, constants::DW_AT_byte_size).unwrap_or(0);
        Ok(match entry.tag() {
            constants::DW_TAG_base_type => {
                let encoding = match entry.attr_value(constants::DW_AT_encoding) {
                    Some(AttributeValue::Encoding(encoding)) => encoding,
                    _ => constants::DwAte(0),
                };
                let signed = matches!(encoding, constants::DW_ATE_signed | constants::DW_ATE_signed_char);
                let unsigned = matches!(encoding, constants::DW_ATE_unsigned | constants::DW_ATE_unsigned_char);
                match (encoding, size) {
                    (constants::DW_ATE_boolean, 1) => Kind::Number(Scalar { dtype: "u8", boolean: true }),
                    (constants::DW_ATE_float, 4) => number("f32"),
                    (constants::DW_ATE_float, 8) => number("f64"),
                    _ if signed || unsigned => whole(size, signed),
                    _ => Kind::Strange(
                        "its type has no match in a manifest: use a float, a double or a whole number of up to 64 bits",
                    ),
                }
            }
            constants::DW_TAG_enumeration_type => {
                let negative = self.children(offset)?.iter().any(|one| {
                    matches!(one.attr_value(DW_AT_const_value).and_then(|value| value.sdata_value()), Some(value) if value < 0)
                });
                whole(size, negative)
            }
            constants::DW_TAG_pointer_type => Kind::Pointer(Self::type_of(&entry)),
            constants::DW_TAG_array_type => {
                let mut sizes = Vec::new();
                for range in self.children(offset)? {
                    let count = Self::number(&range, constants::DW_AT_count).or_else(|| {
                        Self::number(&range, constants::DW_AT_upper_bound).map(|last| last.wrapping_add(1))
                    });
                    match count {
                        Some(count) if count > 0 => sizes.push(count),
                        _ => return Ok(Kind::Strange("an array without a length: give it one")),
                    }
                }
                match Self::type_of(&entry) {
                    Some(item) => Kind::Array(item, sizes),
                    None => Kind::Strange("it has no type"),
                }
            }
            constants::DW_TAG_structure_type => Kind::Struct,
            constants::DW_TAG_union_type => Kind::Strange("a union: make it plain fields"),
            _ => Kind::Strange("its type has no match in a manifest"),
        })
    }

    /// The struct with this name, or with a typedef of this name.
    fn find(&self, name: &str) -> gimli::Result<Option<(UnitOffset, String)>> {
        let mut found = None;
        for entry in self.top()? {
            if self.text(&entry, constants::DW_AT_name)?.as_deref() != Some(name) {
                continue;
            }
            if entry.tag() == constants::DW_TAG_typedef {
                let Some(offset) = self.bare(entry.offset())? else { continue };
                let whole = self.unit.entry(offset)?;
                if whole.tag() == constants::DW_TAG_structure_type && whole.attr(constants::DW_AT_declaration).is_none()
                {
                    return Ok(Some((offset, name.to_owned())));
                }
            }
            if entry.tag() == constants::DW_TAG_structure_type && entry.attr(constants::DW_AT_declaration).is_none() {
                found = Some((entry.offset(), format!("struct {name}")));
            }
        }
        Ok(found)
    }

    /// Functions with the struct that their only argument points to.
    fn functions(&self) -> gimli::Result<Vec<(String, UnitOffset)>> {
        let mut found = Vec::new();
        for entry in self.top()? {
            if entry.tag() != constants::DW_TAG_subprogram || entry.attr(constants::DW_AT_declaration).is_some() {
                continue;
            }
            let Some(name) = self.text(&entry, constants::DW_AT_name)? else { continue };
            let arguments: Vec<_> = self
                .children(entry.offset())?
                .into_iter()
                .filter(|child| child.tag() == constants::DW_TAG_formal_parameter)
                .filter_map(|child| Self::type_of(&child))
                .collect();
            let [argument] = arguments[..] else { continue };
            if let Kind::Pointer(Some(target)) = self.kind(argument)?
                && let Some(target) = self.bare(target)?
            {
                found.push((name, target));
            }
        }
        Ok(found)
    }

    /// Names of structs that some function of one argument resets or steps.
    fn candidates(&self) -> gimli::Result<Vec<String>> {
        let functions = self.functions()?;
        let mut names = Vec::new();
        for entry in self.top()? {
            let Some(name) = self.text(&entry, constants::DW_AT_name)? else { continue };
            let Some((offset, _)) = self.find(&name)? else { continue };
            if functions.iter().any(|(function, target)| *target == offset && function.ends_with("step")) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn layout(&self, name: &str) -> gimli::Result<Option<Layout>> {
        let Some((offset, spelled)) = self.find(name)? else { return Ok(None) };
        let mut layout = Layout { spelled, ..Layout::default() };
        self.members(offset, "", &[], 0, &mut layout)?;
        let functions = self.functions()?;
        layout.functions =
            functions.into_iter().filter(|(_, target)| *target == offset).map(|(name, _)| name).collect();
        Ok(Some(layout))
    }

    fn members(
        &self,
        offset: UnitOffset,
        path: &str,
        sizes: &[u64],
        depth: usize,
        layout: &mut Layout,
    ) -> gimli::Result<()> {
        for member in self.children(offset)? {
            if member.tag() != constants::DW_TAG_member {
                continue;
            }
            let name = self.text(&member, constants::DW_AT_name)?;
            let place = match (&name, path) {
                // What has no name is reached as if its members were here.
                (None, _) => path.to_owned(),
                (Some(name), "") => name.clone(),
                (Some(name), _) => format!("{path}.{name}"),
            };
            if member.attr(constants::DW_AT_data_bit_offset).is_some()
                || member.attr(constants::DW_AT_bit_size).is_some()
            {
                layout.strange.push((place, "a bit field: make it a plain field".into()));
                continue;
            }
            let Some(offset) = Self::type_of(&member) else { continue };
            self.place(offset, place, sizes.to_vec(), depth, layout)?;
        }
        Ok(())
    }

    fn place(
        &self,
        offset: UnitOffset,
        mut path: String,
        mut sizes: Vec<u64>,
        depth: usize,
        layout: &mut Layout,
    ) -> gimli::Result<()> {
        if depth > DEPTH_MAX || layout.leaves.len() + layout.strange.len() > PLACES_MAX {
            layout.strange.push((path, "too large or nested too deeply".into()));
            return Ok(());
        }
        match self.kind(offset)? {
            Kind::Number(scalar) => layout.leaves.push(Leaf { path, sizes, scalar }),
            Kind::Pointer(target) => {
                let target = match target {
                    Some(target) => match self.kind(target)? {
                        Kind::Number(scalar) => self.spelled(target)?.map(|spelled| (spelled, scalar)),
                        _ => None,
                    },
                    None => None,
                };
                layout.pointers.push(Pointer { path, target });
            }
            Kind::Array(item, more) => {
                path.push_str(&"[{}]".repeat(more.len()));
                sizes.extend(more);
                self.place(item, path, sizes, depth + 1, layout)?;
            }
            Kind::Struct => {
                if let Some(offset) = self.bare(offset)? {
                    self.members(offset, &path, &sizes, depth + 1, layout)?;
                }
            }
            Kind::Strange(why) => layout.strange.push((path, why.into())),
        }
        Ok(())
    }

    /// The name of a type of numbers.
    fn spelled(&self, offset: UnitOffset) -> gimli::Result<Option<String>> {
        let Some(offset) = self.bare(offset)? else { return Ok(None) };
        let entry = self.unit.entry(offset)?;
        let name = self.text(&entry, constants::DW_AT_name)?;
        Ok(name.map(|name| if name == "_Bool" { "bool".to_owned() } else { name }))
    }
}

fn number(dtype: &'static str) -> Kind {
    Kind::Number(Scalar { dtype, boolean: false })
}

fn whole(size: u64, signed: bool) -> Kind {
    match (size, signed) {
        (1, true) => number("i8"),
        (1, false) => number("u8"),
        (2, true) => number("i16"),
        (2, false) => number("u16"),
        (4, true) => number("i32"),
        (4, false) => number("u32"),
        (8, true) => number("i64"),
        (8, false) => number("u64"),
        _ => Kind::Strange("its type has no match in a manifest: use a whole number of up to 64 bits"),
    }
}
