//! Little-endian writing and reading of packed values, the form of every record on the wire.

/// Writes packed little-endian values into a slice of known size.
///
/// Writing past the end panics: the sizes come from the environment's own [`Shape`](crate::Shape), so it is our bug.
pub struct Writer<'a> {
    rest: &'a mut [u8],
}

macro_rules! put {
    ($($name:ident: $type:ty),*) => { $(
        #[doc = concat!("Appends one `", stringify!($type), "`.")]
        #[inline(always)]
        pub fn $name(&mut self, value: $type) {
            self.put_array(value.to_le_bytes());
        }
    )* };
}

impl<'a> Writer<'a> {
    /// Starts at the beginning of `bytes`.
    #[inline(always)]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Writer { rest: bytes }
    }

    /// Appends raw bytes.
    #[inline(always)]
    pub fn put(&mut self, bytes: &[u8]) {
        match self.rest.split_off_mut(..bytes.len()) {
            Some(head) => head.copy_from_slice(bytes),
            None => panic!("{} bytes are written where {} are left", bytes.len(), self.rest.len()),
        }
    }

    /// As [`Writer::put`], for a size that is known here: the assignment of an array is one store.
    #[inline(always)]
    fn put_array<const SIZE: usize>(&mut self, bytes: [u8; SIZE]) {
        match self.rest.split_off_mut(..SIZE) {
            Some(head) => *<&mut [u8; SIZE]>::try_from(head).expect("it was cut to this size") = bytes,
            None => panic!("{SIZE} bytes are written where {} are left", self.rest.len()),
        }
    }

    /// How many bytes are still to be written.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    put!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, u64: u64, i64: i64, f32: f32, f64: f64);
}

/// Reads packed little-endian values; each read past the end is an error, never a panic.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

/// The bytes ended before the value did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the body ends too early")
    }
}

impl std::error::Error for Cut {}

macro_rules! get {
    ($($name:ident: $type:ty),*) => { $(
        #[doc = concat!("Takes one `", stringify!($type), "`.")]
        #[inline]
        pub fn $name(&mut self) -> Result<$type, Cut> {
            let bytes = self.take(size_of::<$type>())?;
            Ok(<$type>::from_le_bytes(bytes.try_into().expect("take gave the size asked for")))
        }
    )* };
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// Takes the next `size` bytes.
    #[inline]
    pub fn take(&mut self, size: usize) -> Result<&'a [u8], Cut> {
        if size > self.rest.len() {
            return Err(Cut);
        }
        let (head, tail) = self.rest.split_at(size);
        self.rest = tail;
        Ok(head)
    }

    /// Takes `count` u32 values.
    pub fn u32s(&mut self, count: usize) -> Result<Vec<u32>, Cut> {
        let bytes = self.take(count.checked_mul(4).ok_or(Cut)?)?;
        Ok(bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes"))).collect())
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    get!(u8: u8, i8: i8, u16: u16, i16: i16, u32: u32, i32: i32, u64: u64, i64: i64, f32: f32, f64: f64);
}
