//! The sizes that kernels and plans share: blocks, threads, workgroups. Each is told here alone;
//! the linker gives kernels theirs.

/// Elements in a block: the unit of work, of padding and of partial sums.
pub const BLOCK: u64 = 256;

/// Bytes of an f32 element.
pub const ELEMENT_BYTES: u64 = 4;

/// Elements that a thread updates.
pub const ELEMENTS_PER_THREAD: u64 = 4;

/// Threads in a workgroup: every WebGPU device has as many.
pub const WORKGROUP_SIZE: u64 = 256;

/// Threads that update a block.
pub const THREADS_PER_BLOCK: u64 = BLOCK / ELEMENTS_PER_THREAD;

/// Blocks that a workgroup updates.
pub const BLOCKS_PER_WORKGROUP: u64 = blocks_per_workgroup(THREADS_PER_BLOCK);

/// Threads that update a block of a narrow dispatch, whose parameters are all so short that most
/// threads of a whole block would have nothing to do.
pub const NARROW_THREADS: u64 = 4;

/// The most elements of a parameter in a narrow dispatch.
pub const NARROW: u64 = NARROW_THREADS * ELEMENTS_PER_THREAD;

/// As many parameters must be so short for a narrow dispatch: fewer cost less than a dispatch more.
pub const MANY_NARROW: usize = 4096;

/// Blocks of a workgroup where so many threads share a block.
pub const fn blocks_per_workgroup(threads: u64) -> u64 {
    WORKGROUP_SIZE / threads
}

/// How the threads of a block exchange what they add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exchange {
    /// In workgroup memory, behind barriers.
    Memory,
    /// Within subgroups, without a barrier.
    Subgroups,
}

/// The smallest subgroup that is used: as many threads share a block then.
pub const MIN_SUBGROUP: u64 = 8;

impl Exchange {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Memory, Self::Subgroups];

    /// Threads that measure a block of gradients together: fewer than update it, so that fewer sums
    /// meet; one alone where they exchange nothing.
    pub const fn threads_to_measure(exchange: Option<Self>) -> u64 {
        match exchange {
            Some(Self::Memory) => 16,
            Some(Self::Subgroups) => MIN_SUBGROUP,
            None => 1,
        }
    }

    /// Threads that go through a block of a rule's arrays and sum up something.
    pub const fn threads_to_sum(self) -> u64 {
        match self {
            Self::Memory => THREADS_PER_BLOCK,
            Self::Subgroups => MIN_SUBGROUP,
        }
    }
}

/// The most partial sums that one workgroup of the kernel that adds them up takes.
pub const SUM_LENGTH: u64 = 4 * WORKGROUP_SIZE;

/// The most of them that one thread of it adds up alone.
pub const SHORT_SUM: u64 = 8;

/// The most entries that the gather kernel writes, one for each thread of the deciding kernel.
pub const MAX_GATHERED: u64 = WORKGROUP_SIZE;

/// Bits of the word in which a block's row of the table keeps its number of elements, up to 256;
/// the word's other bits hold the coefficient slot.
pub const LIVE_BITS: u32 = 9;

/// What structs in uniform buffers are aligned to, in bytes.
pub const UNIFORM_ALIGNMENT: u64 = 16;

/// How parameters and gradients of one dispatch are in buffers, and so how an update binds them.
/// WebGPU accepts no buffer that is bound both for reading and for writing, nor overlapping ranges
/// of one that are bound for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sharing {
    /// In a buffer each.
    Apart,
    /// In one buffer, in ranges that do not overlap: both are bound for writing.
    Ranges,
    /// In one range of one buffer, which is bound once.
    Mixed,
}

impl Sharing {
    /// All.
    pub const ALL: [Self; 3] = [Self::Apart, Self::Ranges, Self::Mixed];

    /// Whether elements may be reached so, where these of parameters and gradients have 16 bits:
    /// where one binding has elements of 32 bits and of 16, they are reached one by one.
    pub fn has_transport(self, transport: Transport, [param, grad]: [bool; 2]) -> bool {
        let one_by_one = matches!(transport, Transport::Scalar | Transport::Shared);
        one_by_one || self != Self::Mixed || param == grad
    }
}

/// How threads reach elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Four neighbours at once. Every array must start at a multiple of 16 bytes, and the vec4 that
    /// holds its last element must belong to it whole.
    Vec4,
    /// As [`Self::Vec4`], moved as two words of 64 bits: half the loads and stores where a "GPU" is
    /// a CPU that goes through a thread's words one by one.
    U64,
    /// One by one, at any offset, of any length.
    Scalar,
    /// As [`Self::Scalar`], where words hold 16-bit elements of two threads.
    Shared,
}

impl Transport {
    /// All.
    pub const ALL: [Self; 4] = [Self::Vec4, Self::U64, Self::Scalar, Self::Shared];
}
