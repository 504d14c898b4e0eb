//! How a parameter, its gradient and its states are stored: what callers ask for, and what it comes
//! to for a rule.

use crate::error::Error;
use crate::rule::{DynRule, MAX_KEPT, MAX_STATES, StateInit};

/// How the elements of an array are stored. All arithmetic is in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// 32 bits.
    F32,
    /// IEEE half precision: 11 significant bits, from 6e-8 (with all bits from 6.1e-5) to 65 504.
    /// Gradients need a loss scale.
    F16,
    /// The upper half of an f32: 8 significant bits, f32's range.
    Bf16,
    /// For states only: 8 bits an element and an f32 scale for every 256, by bitsandbytes' dynamic
    /// code of 255 magnitudes over seven decades. Errors are at most 6 % of an element above a
    /// tenth of its block's largest, 11 % above a hundredth, 18, 28, 47 and 71 % in the decades
    /// below, and half of that for states that are never negative. What is below 2.75e-7
    /// (1.6e-7) of the largest becomes 0, except that a state that is never negative keeps a
    /// positive number above 0.
    Block8,
    /// For states only: the same in equal steps of 2y/(1 + y), or of √y for states that are never
    /// negative, where y is an element's magnitude by its block's largest: FlashOptim's companding,
    /// in blocks of 256. Errors are at most 2.4 % of an element above a tenth of its block's
    /// largest, and 20 % above a hundredth; for states that are never negative 1.3 %, 4 %, and 13 %
    /// above a thousandth. That is finer than [`Block8`](Self::Block8) where a block's magnitudes
    /// are near one another, and coarser where they are not: what is below 1/507 (1/260 100) of the
    /// largest becomes 0, except that a state that is never negative keeps a positive number above
    /// 0.
    Companded8,
}

impl Format {
    /// Its code, if it has 8 bits.
    fn map(self) -> Option<Map> {
        match self {
            Self::Block8 => Some(Map::Dynamic),
            Self::Companded8 => Some(Map::Companded),
            Self::F32 | Self::F16 | Self::Bf16 => None,
        }
    }
}

/// How a 16-bit parameter gets the f32 that a step computed for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rounding {
    /// To the nearest, ties to even. Updates below 2⁻⁹ (bf16) or 2⁻¹² (f16) of a parameter are
    /// lost, in every step.
    Nearest,
    /// Up or down by chance, such that the expectation is exact; for bf16. The chance depends on
    /// this seed, the parameter's name, the element and the parameter's own step count alone, so
    /// that a run has the same bits however it is placed, cut or resumed. (Step counts beyond 2²⁴
    /// share their chances with neighbours.)
    Stochastic {
        /// Any number.
        seed: u32,
    },
    /// To the nearest, beside an f32 master that the optimizer keeps and updates: the state
    /// `master_param`, 4 bytes more an element. apex's and TransformerEngine's `master_weights`. A
    /// parameter that is not its master's rounding was written by someone else, and becomes its
    /// own master.
    Master,
    /// The f32 master as its upper half, which is the parameter, and its lower half, which the
    /// optimizer keeps; for bf16. 2 bytes more an element, and exact: the same run as with
    /// [`Master`](Self::Master). apex's `store_param_remainders`. The parameter is the nearest
    /// bf16, ties away from zero. Who writes it elsewhere than by this crate zeroes the state
    /// `param_remainder` too, or the master is off by up to half a unit in bf16's last place.
    Remainder,
    /// To the nearest, beside what rounding lost, in the parameter's format: the state
    /// `kahan_comp`, 2 bytes more an element. Nearly exact: about twice the format's significant
    /// bits.
    Kahan,
}

/// How a parameter, its gradient and its states are stored. By default all in f32.
///
/// ```
/// use wgpu_optim::{Format, Rounding, Storage};
/// // bf16 with an exact f32 master in 2 bytes more, f32 gradients, states in 8 bits:
/// let storage = Storage::bf16(Rounding::Remainder).grads(Format::F32).states(Format::Block8);
/// ```
///
/// Small tensors keep f32 states where 8 bits are asked for ([`Self::min_block8`]). A second
/// moment in bf16 stands still where gradients vanish, since a step changes it by less than half a
/// unit in its last place; one in 8 bits does beside a larger one in its block. So states are f32
/// unless you say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    param: Format,
    rounding: Rounding,
    grad: Format,
    /// By the name of the state; the last that names it counts. `None` names all.
    states: Vec<(Option<String>, Format)>,
    min_block8: usize,
}

/// The fewest elements of a parameter whose states are stored in 8 bits: bitsandbytes'
/// `min_8bit_size`.
const MIN_BLOCK8: usize = 4096;

impl Default for Storage {
    fn default() -> Self {
        let (param, grad, rounding) = (Format::F32, Format::F32, Rounding::Nearest);
        Self { param, rounding, grad, states: Vec::new(), min_block8: MIN_BLOCK8 }
    }
}

impl Storage {
    /// Everything in f32.
    pub fn f32() -> Self {
        Self::default()
    }

    /// A bf16 parameter with a bf16 gradient, and f32 states.
    pub fn bf16(rounding: Rounding) -> Self {
        Self { param: Format::Bf16, grad: Format::Bf16, rounding, ..Self::default() }
    }

    /// An f16 parameter with an f16 gradient, and f32 states.
    pub fn f16(rounding: Rounding) -> Self {
        Self { param: Format::F16, grad: Format::F16, rounding, ..Self::default() }
    }

    /// The gradient's format.
    #[must_use]
    pub fn grads(self, format: Format) -> Self {
        Self { grad: format, ..self }
    }

    /// The format of all of a rule's states. What modifiers keep stays f32.
    #[must_use]
    pub fn states(mut self, format: Format) -> Self {
        self.states.push((None, format));
        self
    }

    /// The format of the state of this name, such as `exp_avg`.
    #[must_use]
    pub fn state(mut self, name: impl Into<String>, format: Format) -> Self {
        self.states.push((Some(name.into()), format));
        self
    }

    /// The fewest elements of a parameter whose states are stored in 8 bits; those of smaller ones
    /// stay f32. Default 4096, as in bitsandbytes.
    #[must_use]
    pub fn min_block8(self, elements: usize) -> Self {
        Self { min_block8: elements, ..self }
    }

    /// What this comes to for a parameter of so many elements.
    pub(crate) fn formats(
        &self,
        name: &str,
        elements: usize,
        rule: &dyn DynRule,
    ) -> Result<Formats, Error> {
        let refuse = |expected: &str, found: String, remedy: &str| {
            Err(Error::parameter(name, expected, found, remedy))
        };
        for (what, format) in [("parameter", self.param), ("gradient", self.grad)] {
            if format.map().is_some() {
                let expected = format!("a {what} in f32, f16 or bf16");
                let found = format!("{format:?}");
                return refuse(&expected, found, "Only states may be stored in 8 bits");
            }
        }
        if !self.rounding.fits(self.param) {
            let found = format!("{:?} for {:?}", self.rounding, self.param);
            let expected = "a rounding that the parameter's format has";
            return refuse(expected, found, self.rounding.remedy());
        }
        let used = rule.own().states();
        let known = |state: &str| used.iter().any(|used| used.name == state);
        let names = self.states.iter().filter_map(|(name, _)| name.as_deref());
        if let Some(unknown) = { names }.find(|state| !known(state)) {
            let names: Vec<_> = used.iter().map(|state| state.name).collect();
            let expected = format!("formats of states that {} keeps", rule.name());
            let remedy = format!("It keeps: [{}]", names.join(", "));
            return refuse(&expected, format!("one of `{unknown}`"), &remedy);
        }
        let unsigned = rule.non_negative_states();
        let codec = |state: &str| match Codec::from(self.of_state(state)) {
            Codec::Block8(_) if elements < self.min_block8 => Codec::F32,
            Codec::Block8(Code { map, .. }) => {
                Codec::Block8(Code { map, signed: !unsigned.contains(&state) })
            }
            codec => codec,
        };
        let mut states = ArrayCodecs::default();
        used.iter().for_each(|state| states.push(codec(state.name)));
        // What modifiers keep is f32.
        rule.states().iter().skip(used.len()).for_each(|_| states.push(Codec::F32));
        if let Some((_, codec)) = self.rounding.extra(self.param) {
            states.push(codec);
        }
        let (param, grad) = (self.param.into(), self.grad.into());
        Ok(Formats { param, grad, keeping: self.rounding.keeping(), states })
    }

    fn of_state(&self, state: &str) -> Format {
        let names = |(name, _): &&(Option<String>, Format)| {
            name.as_deref().is_none_or(|name| name == state)
        };
        self.states.iter().rev().find(names).map_or(Format::F32, |(_, format)| *format)
    }

    /// What chance depends on beside element and step, if on anything: the seed and the name.
    pub(crate) fn noise_key(&self, name: &str) -> u32 {
        match self.rounding {
            Rounding::Stochastic { seed } => noise_key(seed, name),
            _ => 0,
        }
    }
}

/// A hash of seed and name: 32-bit FNV-1a.
fn noise_key(seed: u32, name: &str) -> u32 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Rounding {
    fn fits(self, param: Format) -> bool {
        match self {
            Self::Nearest => true,
            Self::Stochastic { .. } | Self::Remainder => param == Format::Bf16,
            Self::Master | Self::Kahan => param != Format::F32,
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Nearest => "",
            Self::Stochastic { .. } => "Stochastic rounding is for bf16; take Master or Kahan",
            Self::Remainder => "Remainders are for bf16; for f16 take Master or Kahan",
            Self::Master | Self::Kahan => "An f32 parameter is its own master: leave it out",
        }
    }

    fn keeping(self) -> Keeping {
        match self {
            Self::Nearest => Keeping::Nothing,
            Self::Stochastic { .. } => Keeping::Chance,
            Self::Master => Keeping::Master,
            Self::Remainder => Keeping::Remainder,
            Self::Kahan => Keeping::Loss,
        }
    }

    /// The name and the codec of what is kept beside a rule's states.
    fn extra(self, param: Format) -> Option<(&'static str, Codec)> {
        let codec = match self {
            Self::Nearest | Self::Stochastic { .. } => return None,
            Self::Master => Codec::F32,
            Self::Remainder => Codec::I16,
            Self::Kahan => param.into(),
        };
        self.keeping().state().map(|name| (name, codec))
    }
}

/// How the elements of an array are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Codec {
    /// As they are.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// Integers of 16 bits.
    I16,
    /// 8 bits an element, and a scale a block.
    Block8(Code),
}

/// A code of 8 bits, for elements divided by their block's largest magnitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code {
    /// Which magnitudes it has.
    pub map: Map,
    /// Whether elements may be negative.
    pub signed: bool,
}

/// Which magnitudes a code of 8 bits has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Map {
    /// bitsandbytes': equal steps within decades.
    Dynamic,
    /// FlashOptim's: equal steps of a function of the magnitude.
    Companded,
}

impl Codec {
    /// Whether elements have 16 bits.
    pub fn is_half(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::I16)
    }

    /// Whether elements have 8 bits, in blocks with a scale.
    pub fn in_blocks(self) -> bool {
        matches!(self, Self::Block8(_))
    }
}

impl From<Format> for Codec {
    fn from(format: Format) -> Self {
        match format {
            Format::F32 => Self::F32,
            Format::F16 => Self::F16,
            Format::Bf16 => Self::Bf16,
            Format::Block8 => Self::Block8(Code { map: Map::Dynamic, signed: true }),
            Format::Companded8 => Self::Block8(Code { map: Map::Companded, signed: true }),
        }
    }
}

/// What is kept of an f32 beside a 16-bit parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Keeping {
    /// Nothing; the parameter is rounded to the nearest.
    #[default]
    Nothing,
    /// Nothing; it is rounded by chance.
    Chance,
    /// All of it.
    Master,
    /// The lower half.
    Remainder,
    /// What rounding lost.
    Loss,
}

impl Keeping {
    /// The name of the state that is kept, as apex and optimi call it.
    pub fn state(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Chance => None,
            Self::Master => Some("master_param"),
            Self::Remainder => Some("param_remainder"),
            Self::Loss => Some("kahan_comp"),
        }
    }
}

/// The most arrays beside parameter and gradient: a rule's states, what modifiers keep, and what is
/// kept of a 16-bit parameter.
const MAX_ARRAYS: usize = MAX_STATES + MAX_KEPT + 1;

/// The codecs of a parameter's states in use, and of what is kept beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ArrayCodecs {
    codecs: [Codec; MAX_ARRAYS],
    count: usize,
}

impl ArrayCodecs {
    fn push(&mut self, codec: Codec) {
        self.codecs[self.count] = codec;
        self.count += 1;
    }

    /// All.
    pub fn as_slice(&self) -> &[Codec] {
        &self.codecs[..self.count]
    }
}

/// The codecs of a parameter's arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Formats {
    /// The parameter's.
    pub param: Codec,
    /// The gradient's.
    pub grad: Codec,
    /// What is kept of an f32 beside a 16-bit parameter; it is the last of the states.
    pub keeping: Keeping,
    /// The states'.
    pub states: ArrayCodecs,
}

impl Formats {
    /// All in f32, for a rule with so many states.
    pub fn f32(states: usize) -> Self {
        let mut formats = Self::default();
        (0..states).for_each(|_| formats.states.push(Codec::F32));
        formats
    }

    /// What a storage comes to for a rule, whatever the size of the parameter.
    ///
    /// # Panics
    /// The storage does not fit.
    pub fn of(storage: &Storage, rule: &dyn DynRule) -> Self {
        storage.formats("w", usize::MAX, rule).expect("a storage that fits")
    }

    /// The states in use of a parameter with this rule, and what is kept beside them, which starts
    /// at 0: each with its codec.
    pub(crate) fn arrays(&self, rule: &dyn DynRule) -> Vec<(StateInit, Codec)> {
        let kept = self.keeping.state().map(|name| StateInit { name, value: 0.0 });
        rule.states().into_iter().chain(kept).zip(self.states.as_slice().iter().copied()).collect()
    }

    /// Whether some array has elements of 16 bits.
    pub fn has_halves(&self) -> bool {
        let states = self.states.as_slice().iter().copied();
        states.chain([self.param, self.grad]).any(Codec::is_half)
    }

    /// Whether the parameter is rounded by chance.
    pub fn by_chance(&self) -> bool {
        self.keeping == Keeping::Chance
    }

    /// Whether some state is stored in 8 bits.
    pub fn has_blocks(&self) -> bool {
        self.states.as_slice().iter().any(|codec| codec.in_blocks())
    }

    /// The index of what is kept beside the parameter.
    pub fn kept(&self) -> Option<usize> {
        self.keeping.state().map(|_| self.states.count - 1)
    }
}
