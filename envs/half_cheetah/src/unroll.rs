//! Loops over a few indices that are written out, so that what they index stays in registers.

/// `each!(i in [0, 1] { … })` is the block once for each index. The compiler unrolls small loops itself; these are nested
/// so deeply that it does not.
macro_rules! each {
    ($index:ident in [$($value:literal),*] $body:block) => {
        $({
            let $index: usize = $value;
            $body
        })*
    };
}
