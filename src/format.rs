//! How an array's elements are stored, and how a thread reaches the four it works on.

/// Elements in a block: the unit of work, of padding and of the segment table.
pub const BLOCK: u64 = 256;

/// Bits of the word in which a block's row of the table keeps its number of elements, up to 256; the word's
/// other bits hold the group.
pub const LIVE_BITS: u32 = 9;

/// Bytes of an f32 element.
pub const ELEMENT_BYTES: u64 = 4;

/// Elements that a thread updates.
pub const ELEMENTS_PER_THREAD: u64 = 4;

/// How the elements of a dispatch's arrays are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Four neighbours at once. Every array must start at a multiple of 16 bytes, and the vec4 that
    /// holds its last element must belong to it whole.
    Vec4,
    /// As [`Self::Vec4`], moved as two words of 64 bits: half the loads and stores where a "GPU" is a CPU
    /// that goes through a thread's words one by one.
    U64,
    /// One by one, at any offset, of any length.
    Scalar,
}

impl Access {
    /// All.
    pub const ALL: [Self; 3] = [Self::Vec4, Self::U64, Self::Scalar];

    /// WGSL: which elements of a block a thread takes.
    pub(crate) fn lanes(self) -> &'static str {
        match self {
            Self::Vec4 | Self::U64 => include_str!("../shaders/driver/vec4.wgsl"),
            Self::Scalar => include_str!("../shaders/driver/scalar.wgsl"),
        }
    }

    /// WGSL: the table of blocks, and how to load a row.
    pub(crate) fn rows(self) -> &'static str {
        match self {
            Self::Vec4 | Self::Scalar => include_str!("../shaders/formats/rows.u32.wgsl"),
            Self::U64 => concat!(
                include_str!("../shaders/formats/pairs.u64.wgsl"),
                include_str!("../shaders/formats/rows.u64.wgsl")
            ),
        }
    }

    /// WGSL: the binding of an f32 array, how to load from it and, unless it is `read_only`, how to
    /// store to it.
    pub(crate) fn array(self, name: &str, binding: u32, read_only: bool) -> String {
        let template = match self {
            Self::Vec4 => include_str!("../shaders/formats/f32.vec4.wgsl"),
            Self::U64 => include_str!("../shaders/formats/f32.u64.wgsl"),
            Self::Scalar => include_str!("../shaders/formats/f32.scalar.wgsl"),
        };
        let (load, store) = template.split_once("// --- store\n").unwrap_or((template, ""));
        let (text, access) = if read_only {
            (load.to_owned(), "read")
        } else {
            ([load, store].concat(), "read_write")
        };
        text.replace("$BINDING", &binding.to_string())
            .replace("$ACCESS", access)
            .replace("$ARRAY", name)
    }
}
