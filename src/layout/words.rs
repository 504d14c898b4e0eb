//! Structs of 32-bit words that the host and a kernel share. Each is declared once, and yields both
//! the Rust struct that writes or reads the words and the WGSL struct of the same fields.

/// A struct of words.
pub(crate) trait Words: Sized {
    /// The WGSL struct.
    const WGSL: &'static str;
    /// How many words it has.
    const LEN: usize;
    /// Appends its words.
    fn write(&self, out: &mut Vec<u32>);
    /// Reads it from its words; words that are missing are 0.
    fn read(words: &[u32]) -> Self;
}

/// A field of one word.
pub(crate) trait Word {
    fn to_word(&self) -> u32;
    fn from_word(word: u32) -> Self;
}

impl Word for u32 {
    fn to_word(&self) -> u32 {
        *self
    }
    fn from_word(word: u32) -> Self {
        word
    }
}

impl Word for f32 {
    fn to_word(&self) -> u32 {
        self.to_bits()
    }
    fn from_word(word: u32) -> Self {
        Self::from_bits(word)
    }
}

/// Declares a struct of words. A field's type is its type in both languages; `f32 as u32` is an f32
/// that the kernel handles by its bits.
macro_rules! words {
    (@wgsl $ty:ident) => { stringify!($ty) };
    (@wgsl $ty:ident $wgsl:ident) => { stringify!($wgsl) };
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $($(#[$doc:meta])* $field:ident: $ty:ident $(as $wgsl:ident)?),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Default)]
        $vis struct $name { $($(#[$doc])* $vis $field: $ty),+ }

        impl $crate::layout::words::Words for $name {
            const WGSL: &'static str = concat!(
                "struct ", stringify!($name), " {\n",
                $("    ", stringify!($field), ": ",
                  $crate::layout::words::words!(@wgsl $ty $($wgsl)?), ",\n",)+
                "}\n"
            );
            const LEN: usize = [$(stringify!($field)),+].len();
            fn write(&self, out: &mut Vec<u32>) {
                $(out.push($crate::layout::words::Word::to_word(&self.$field));)+
            }
            fn read(words: &[u32]) -> Self {
                let mut words = words.iter().copied();
                $(let $field =
                    $crate::layout::words::Word::from_word(words.next().unwrap_or_default());)+
                Self { $($field),+ }
            }
        }
    };
}
pub(crate) use words;

#[cfg(test)]
mod tests {
    use super::Words;

    words! {
        /// A struct.
        struct Pair { count: u32, size: f32, bits: f32 as u32 }
    }

    #[test]
    fn a_struct_is_one_declaration_in_both_languages() {
        assert_eq!(
            Pair::WGSL,
            "struct Pair {\n    count: u32,\n    size: f32,\n    bits: u32,\n}\n"
        );
        let pair = Pair { count: 3, size: 0.5, bits: -1.0 };
        let mut words = Vec::new();
        pair.write(&mut words);
        assert_eq!(words, [3, 0.5f32.to_bits(), (-1.0f32).to_bits()]);
        assert_eq!((Pair::LEN, Pair::read(&words)), (3, pair));
    }
}
