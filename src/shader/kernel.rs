//! Every kernel, as data: the file with its entry point, its flags, and its list of bindings.

use crate::control::{COUNTS_WGSL, MAX_SCALE, Report, RequestHeader, Verdict};
use crate::error::Error;
use crate::layout::geometry::{Exchange, NARROW_THREADS, Sharing, Transport};
use crate::layout::limits::Limits;
use crate::layout::pages::Slots;
use crate::layout::plan::PieceWords;
use crate::layout::words::Words;
use crate::model::{Codec, Formats};
use crate::rule::{
    DynRule, MAX_INPUTS, MAX_INSTRUCTIONS, MAX_OUTPUTS, MAX_SCALARS, Modifiers, Pass,
};
use crate::shader::binding::{Access, Binding, Resource};
use crate::shader::link::{Kernel, RULE, Shader};
use crate::shader::{check, codec, glue};

/// What update kernels do beside updating. What is not asked for is not in the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Extras {
    /// Gradients are clamped, element by element.
    pub clamp: bool,
    /// A step may be skipped.
    pub skip: bool,
    /// Gradients are zeroed as they are read.
    pub zero_grad: bool,
    /// The squares of the parameters and of their changes are summed up.
    pub statistics: Option<Exchange>,
}

/// A kernel of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKernel {
    /// One of its passes that add something up.
    Sum {
        /// Which.
        pass: Pass,
        /// How threads reach elements.
        transport: Transport,
        /// How many coefficient slots its page has.
        slots: Slots,
        /// Whether gradients are clamped, element by element.
        clamp: bool,
        /// How threads exchange their sums.
        exchange: Exchange,
        /// How elements are stored.
        formats: Formats,
    },
    /// Its update.
    Update {
        /// How threads reach elements.
        transport: Transport,
        /// How many coefficient slots its page has.
        slots: Slots,
        /// How parameters and gradients are in buffers.
        sharing: Sharing,
        /// What it does beside.
        extras: Extras,
        /// How elements are stored.
        formats: Formats,
        /// Whether few threads share a block, each of few elements. Not where sums are kept.
        narrow: bool,
    },
}

/// What is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SumOf {
    /// Measures of gradients.
    Measures,
    /// So many sums.
    Sums(usize),
}

impl SumOf {
    /// Bytes of an entry.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Measures => 32,
            Self::Sums(sums) => 16 * sums as u64,
        }
    }
}

/// Sums of squares that statistics keep of each tensor: of its elements, and of their changes.
pub const CHANGED_SUMS: usize = 2;

/// A kernel that is the same for every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fixed {
    /// Measures gradients.
    Measure {
        /// How threads reach elements.
        transport: Transport,
        /// How threads exchange their measures; `None` if one measures a block alone.
        exchange: Option<Exchange>,
        /// How gradients are stored.
        codec: Codec,
    },
    /// Adds up partial sums, tensor by tensor.
    AddUp(SumOf),
    /// Adds up all measures to a few.
    Gather,
    /// Decides about a step.
    Decide,
    /// Copies step counts to a larger buffer.
    Grow,
    /// Writes the tables of blocks, with the blocks' tensors if something is summed up.
    Table {
        /// Whether something is.
        tensors: bool,
        /// Whether parameters are rounded by chance.
        origins: bool,
    },
    /// Exchanges parameters and their averages.
    Swap {
        /// How threads reach elements.
        transport: Transport,
        /// How elements are stored.
        formats: Formats,
        /// The average's index among the states.
        average: usize,
    },
    /// Zeroes gradients that no update reads.
    Zero {
        /// How threads reach elements.
        transport: Transport,
        /// How gradients are stored.
        codec: Codec,
    },
}

/// Links a kernel of a rule.
///
/// # Errors
/// The rule's WGSL declares other coefficients, states, sums or options than its Rust side, or a
/// name that the kernel uses.
pub fn rule_kernel(
    rule: &dyn DynRule,
    kernel: RuleKernel,
    limits: &Limits,
) -> Result<Shader, Error> {
    let kernel = match kernel {
        RuleKernel::Sum { pass, transport, slots, clamp, exchange, formats } => {
            let of = OfRule { rule, transport, slots, formats, limits };
            match pass {
                Pass::SumGrads => sum_grads(&of, exchange),
                Pass::SumUpdates => sum_updates(&of, clamp, exchange),
                Pass::Sum | Pass::Update => sum(&of, clamp, exchange),
            }
        }
        RuleKernel::Update { transport, slots, sharing, extras, formats, narrow } => {
            let of = OfRule { rule, transport, slots, formats, limits };
            let mut kernel = update(&of, sharing, extras);
            if narrow {
                kernel.threads = Some(NARROW_THREADS);
            }
            kernel
        }
    };
    let shader = kernel.link();
    check::check(rule.own(), &shader)?;
    Ok(shader)
}

/// What all kernels of a rule depend on.
struct OfRule<'a> {
    rule: &'a dyn DynRule,
    transport: Transport,
    slots: Slots,
    formats: Formats,
    limits: &'a Limits,
}

impl OfRule<'_> {
    /// What they have in common: the rule's text, its options, and what they read.
    fn kernel(&self, stores: bool) -> Kernel {
        let Self { rule, transport, slots, formats, limits } = *self;
        let access = if stores { Access::ReadWrite } else { Access::Read };
        let params =
            Binding::elements(Resource::Params, access, "params", (formats.param, transport));
        let mut bindings = vec![table(transport), params];
        let own = rule.own();
        let (own_states, with_kept) = (own.states().len(), rule.states().len());
        for (index, (array, codec)) in formats.arrays(rule).into_iter().enumerate() {
            // What modifiers keep is nothing that sums are of.
            if !stores && (own_states..with_kept).contains(&index) {
                continue;
            }
            let name = format!("state_{}", array.name);
            let state = Resource::State(index);
            bindings.push(Binding::elements(state, access, name, (codec, transport)));
        }
        bindings.extend(page_bindings());
        let flag = |(name, on): (&'static str, bool)| (name, f64::from(u8::from(on)));
        let mut kernel = Kernel {
            constants: vec![("SLOTS", slots.count(rule, limits))],
            texts: vec![
                (RULE, rule.wgsl().to_owned()),
                ("states", glue::states(own, &formats, stores)),
            ],
            structs: vec![Verdict::WGSL],
            bindings,
            overrides: own.options().into_iter().map(flag).collect(),
            // A user's rule may count on WGSL's zeroes, and the largest magnitudes of the 8-bit
            // states that are stored do.
            zeroed_memory: rule.wgsl().contains("var<workgroup>")
                || (stores && formats.has_blocks()),
            ..flags_of(transport)
        };
        kernel.flags.extend(modifier_flags(rule));
        if let Some(keep) = codec::keep(&formats) {
            kernel.flags.push("keeps");
            kernel.texts.push(("keep", keep));
        }
        kernel
    }

    fn grads(&self, access: Access) -> Binding {
        let how = (self.formats.grad, self.transport);
        Binding::elements(Resource::Grads, access, "grads", how)
    }

    /// Has parameters and gradients in one binding.
    fn mix_in(&self, kernel: &mut Kernel) {
        let Self { transport, formats, .. } = *self;
        let mut grads = self.grads(Access::ReadWrite);
        if formats.param.is_half() != formats.grad.is_half() {
            let of_f32 = |binding: Binding| binding.in_words(transport);
            match formats.grad {
                Codec::F32 => grads = of_f32(grads),
                _ => {
                    let params = |binding: &&mut Binding| binding.resource == Resource::Params;
                    let params = kernel.bindings.iter_mut().find(params);
                    params.into_iter().for_each(|params| *params = of_f32(params.clone()));
                }
            }
        }
        kernel.mixed_in = Some(grads.within("params"));
    }
}

/// The flags of a rule's modifiers.
fn modifier_flags(rule: &dyn DynRule) -> Vec<&'static str> {
    let mut flags = rule.modifiers().map_or_else(Vec::new, Modifiers::flags);
    let any = |of: &[&str]| flags.iter().any(|flag| of.contains(flag));
    let more = [
        ("numbers", !rule.modifier_coeffs().is_empty()),
        ("copies", any(&["average", "lookahead"])),
        ("scales", any(&["cautious", "clip_update"])),
        ("held", any(&["clip_grad_tensor", "clip_update"])),
    ];
    let more: Vec<_> = more.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag).collect();
    flags.extend(more);
    flags
}

/// What the kernels of a rule bind of a step's upload.
pub fn page_bindings() -> [Binding; 2] {
    [
        Binding::new(Resource::Verdict, Access::Uniform, "verdict", "Verdict"),
        Binding::new(Resource::Page, Access::Uniform, "page", "array<Slot, SLOTS>"),
    ]
}

/// What the deciding kernel binds of it.
pub fn request_binding() -> Binding {
    Binding::new(Resource::Request, Access::Read, "request", "Request")
}

impl Kernel {
    /// Lets so many threads share a block and exchange their sums, or one have it alone.
    fn exchange(&mut self, exchange: Option<Exchange>, threads: u64) {
        self.threads = Some(threads);
        self.flags.push(match exchange {
            Some(Exchange::Memory) => "memory",
            Some(Exchange::Subgroups) => "subgroups",
            None => "alone",
        });
    }
}

/// The flags of a transport.
fn flags_of(transport: Transport) -> Kernel {
    let flags = if transport == Transport::U64 { vec!["u64"] } else { Vec::new() };
    Kernel { flags, ..Kernel::default() }
}

fn table(transport: Transport) -> Binding {
    let ty = if transport == Transport::U64 { "array<vec2<u64>>" } else { "array<vec4<u32>>" };
    Binding::new(Resource::Table, Access::Read, "table", ty)
}

fn tensors(access: Access) -> Binding {
    Binding::new(Resource::Tensors, access, "tensors", "array<vec2<u32>>")
}

fn origins(access: Access) -> Binding {
    Binding::new(Resource::Origins, access, "origins", "array<vec2<u32>>")
}

/// How threads of an update exchange their sums: in workgroup memory where they must meet for the
/// scales of 8-bit states anyway, 64 to a block.
pub fn update_exchange(formats: &Formats, exchange: Exchange) -> Exchange {
    if formats.has_blocks() { Exchange::Memory } else { exchange }
}

fn partials(ty: &str) -> Binding {
    Binding::new(Resource::Partials, Access::ReadWrite, "partials", format!("array<{ty}>"))
}

fn update(of: &OfRule<'_>, sharing: Sharing, extras: Extras) -> Kernel {
    let Extras { clamp, skip, zero_grad, statistics } = extras;
    let sums = of.rule.sums();
    let has_sums = !sums.is_empty();
    let mut kernel = of.kernel(true);
    match sharing {
        Sharing::Apart if zero_grad => kernel.bindings.push(of.grads(Access::ReadWrite)),
        Sharing::Apart => kernel.bindings.push(of.grads(Access::Read)),
        Sharing::Ranges => kernel.bindings.push(of.grads(Access::ReadWrite)),
        Sharing::Mixed => of.mix_in(&mut kernel),
    }
    let is_modified = of.rule.modifiers().is_some_and(|modifiers| !modifiers.flags().is_empty());
    kernel.flags.extend(is_modified.then_some("modified"));
    let totals = totals(of.rule, Pass::Update);
    if !totals.is_empty() || statistics.is_some() {
        kernel.bindings.push(tensors(Access::Read));
    }
    kernel.bindings.extend(totals);
    let chance = of.formats.by_chance();
    if chance {
        kernel.bindings.push(origins(Access::Read));
    }
    if let Some(exchange) = statistics {
        let exchange = update_exchange(&of.formats, exchange);
        kernel.bindings.push(partials("Summand"));
        kernel.exchange(Some(exchange), exchange.threads_to_sum());
    }
    // Sums are added up in one order, whatever the transport, so that placement changes no bit.
    // Where elements have 16 or 8 bits, a word must not be two threads'.
    let strided = of.transport == Transport::Scalar
        && statistics.is_none()
        && !(of.formats.has_halves() || of.formats.has_blocks());
    let flags = [
        ("clamp", clamp),
        ("skip", skip),
        ("zero_grad", zero_grad),
        ("statistics", statistics.is_some()),
        ("sums", has_sums),
        ("strided", strided),
        ("block8", of.formats.has_blocks()),
        ("chance", chance),
    ];
    kernel.flags.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| *flag));
    if has_sums {
        kernel.texts.push(("tensor_coeffs", glue::tensor_coeffs(&sums)));
    }
    kernel.texts.push(("summand", glue::summand(CHANGED_SUMS)));
    kernel.label = format!("the update of {}", of.rule.name());
    kernel.file = "update";
    kernel
}

fn sum(of: &OfRule<'_>, clamp: bool, exchange: Exchange) -> Kernel {
    let sums = of.rule.sums();
    let mut kernel = of.kernel(false);
    kernel.bindings.push(of.grads(Access::Read));
    kernel.bindings.push(tensors(Access::Read));
    kernel.bindings.push(partials("Summand"));
    kernel.bindings.extend(totals(of.rule, Pass::Sum));
    kernel.flags.extend(clamp.then_some("clamp"));
    kernel.exchange(Some(exchange), exchange.threads_to_sum());
    kernel.texts.push(("rule_summand", glue::rule_summand(&sums)));
    kernel.texts.push(("summand", glue::summand(sums.len())));
    kernel.label = format!("the sums of {}", of.rule.name());
    kernel.file = "sum";
    kernel
}

fn sum_grads(of: &OfRule<'_>, exchange: Exchange) -> Kernel {
    let mut kernel = of.kernel(false);
    // Its table comes first, and of the rule's arrays it needs none.
    kernel.bindings = [table(of.transport), of.grads(Access::Read)].into();
    kernel.bindings.extend([tensors(Access::Read), partials("Summand")]);
    // It reads no coefficients, but is given a step's upload like all of a rule's kernels.
    kernel.bindings.extend(page_bindings());
    kernel.flags.retain(|flag| *flag == "u64");
    kernel.exchange(Some(exchange), exchange.threads_to_sum());
    kernel.texts.push(("summand", glue::summand(of.rule.sums_of(Pass::SumGrads).len())));
    kernel.label = format!("the gradients' norms for {}", of.rule.name());
    kernel.file = "sum_grads";
    kernel
}

fn sum_updates(of: &OfRule<'_>, clamp: bool, exchange: Exchange) -> Kernel {
    let mut kernel = of.kernel(false);
    kernel.bindings.push(of.grads(Access::Read));
    kernel.bindings.push(tensors(Access::Read));
    kernel.bindings.push(partials("Summand"));
    kernel.bindings.extend(totals(of.rule, Pass::SumUpdates));
    kernel.flags.extend(clamp.then_some("clamp"));
    kernel.exchange(Some(exchange), exchange.threads_to_sum());
    let sums = of.rule.sums();
    if !sums.is_empty() {
        kernel.flags.push("sums");
        kernel.texts.push(("tensor_coeffs", glue::tensor_coeffs(&sums)));
    }
    kernel.texts.push(("summand", glue::summand(of.rule.sums_of(Pass::SumUpdates).len())));
    kernel.label = format!("the updates' sums for {}", of.rule.name());
    kernel.file = "sum_updates";
    kernel
}

/// What the passes before one of a rule's have added up.
fn totals(rule: &dyn DynRule, pass: Pass) -> Vec<Binding> {
    let before = rule.passes().into_iter().take_while(|before| *before != pass);
    let binding = |pass| {
        let (name, ty) = match pass {
            Pass::SumGrads => ("grad_totals", "array<GradTotal>"),
            Pass::SumUpdates => ("update_totals", "array<UpdateTotal>"),
            Pass::Sum | Pass::Update => ("totals", "array<Total>"),
        };
        Binding::new(Resource::Totals(pass), Access::Read, name, ty)
    };
    before.map(binding).collect()
}

/// Links a kernel that is the same for every rule.
pub fn fixed(kernel: Fixed) -> Shader {
    match kernel {
        Fixed::Measure { transport, exchange, codec } => measure(transport, exchange, codec),
        Fixed::AddUp(of) => add_up(of),
        Fixed::Gather => gather(),
        Fixed::Decide => decide(),
        Fixed::Grow => grow(),
        Fixed::Table { tensors, origins } => table_writer(tensors, origins),
        Fixed::Zero { transport, codec } => zero(transport, codec),
        Fixed::Swap { transport, formats, average } => swap(transport, &formats, average),
    }
    .link()
}

fn measure(transport: Transport, exchange: Option<Exchange>, codec: Codec) -> Kernel {
    let mut kernel = flags_of(transport);
    kernel.label = "the measure of gradients".into();
    kernel.file = "measure";
    kernel.flags.push("measures");
    kernel.exchange(exchange, Exchange::threads_to_measure(exchange));
    kernel.bindings = vec![
        table(transport),
        Binding::elements(Resource::Grads, Access::Read, "grads", (codec, transport)),
        tensors(Access::Read),
        partials("Measure"),
    ];
    kernel
}

fn zero(transport: Transport, codec: Codec) -> Kernel {
    let mut kernel = flags_of(transport);
    kernel.label = "the zeroing of gradients".into();
    kernel.file = "zero";
    let strided = transport == Transport::Scalar && codec == Codec::F32;
    kernel.flags.extend(strided.then_some("strided"));
    kernel.bindings = vec![
        table(transport),
        Binding::elements(Resource::Grads, Access::ReadWrite, "grads", (codec, transport)),
    ];
    kernel
}

fn swap(transport: Transport, formats: &Formats, average: usize) -> Kernel {
    let array = |resource, name: &str, codec| {
        Binding::elements(resource, Access::ReadWrite, name, (codec, transport))
    };
    let mut kernel = flags_of(transport);
    kernel.label = "the exchange of parameters and averages".into();
    kernel.file = "swap";
    let strided = transport == Transport::Scalar && !formats.has_halves();
    kernel.flags.extend(strided.then_some("strided"));
    kernel.bindings = vec![
        table(transport),
        array(Resource::Params, "params", formats.param),
        array(Resource::State(average), "state_average", Codec::F32),
    ];
    if let (Some(keep), Some(kept), Some(name)) =
        (codec::keep(formats), formats.kept(), formats.keeping.state())
    {
        kernel.flags.push("keeps");
        kernel.texts.push(("keep", keep));
        let codec = formats.states.as_slice()[kept];
        kernel.bindings.push(array(Resource::State(kept), &format!("state_{name}"), codec));
    }
    kernel
}

fn add_up(of: SumOf) -> Kernel {
    let mut kernel = summing(of);
    kernel.label = "the addition of partial sums".into();
    kernel.file = "add_up";
    let pairs = |resource, name| Binding::new(resource, Access::Read, name, "array<vec2<u32>>");
    kernel.bindings.extend([pairs(Resource::Rows, "rows"), pairs(Resource::Runs, "runs")]);
    kernel
}

fn gather() -> Kernel {
    let mut kernel = summing(SumOf::Measures);
    kernel.label = "the addition of measures".into();
    kernel.file = "gather";
    kernel
}

/// What kernels that add up have in common.
fn summing(of: SumOf) -> Kernel {
    let mut kernel = Kernel {
        bindings: vec![
            Binding::new(Resource::Parts, Access::Read, "parts", "array<Summand>"),
            Binding::new(Resource::Sums, Access::ReadWrite, "totals", "array<Summand>"),
        ],
        ..Kernel::default()
    };
    match of {
        SumOf::Measures => kernel.flags.push("measures"),
        SumOf::Sums(sums) => kernel.texts.push(("summand", glue::summand(sums))),
    }
    kernel
}

fn decide() -> Kernel {
    let storage = |resource, access, name, ty: &str| Binding::new(resource, access, name, ty);
    Kernel {
        label: "the decision about a step".into(),
        file: "decide",
        flags: vec!["measures"],
        constants: vec![
            ("MAX_INSTRUCTIONS", MAX_INSTRUCTIONS as u64),
            ("MAX_SCALARS", MAX_SCALARS as u64),
            ("MAX_INPUTS", MAX_INPUTS as u64),
            ("MAX_OUTPUTS", MAX_OUTPUTS as u64),
            ("MAX_SCALE", MAX_SCALE.to_bits().into()),
        ],
        structs: vec![
            Report::WGSL,
            RequestHeader::WGSL,
            "struct Request {\n    head: RequestHeader,\n    words: array<u32>,\n}\n",
            COUNTS_WGSL,
        ],
        bindings: vec![
            storage(Resource::Gathered, Access::Read, "gathered", "array<Measure>"),
            storage(Resource::LossScale, Access::ReadWrite, "loss_scale", "array<u32>"),
            storage(Resource::Report, Access::ReadWrite, "report", "Report"),
            storage(Resource::Counts, Access::ReadWrite, "step_counts", "Counts"),
            storage(Resource::Coeffs, Access::ReadWrite, "coeffs", "array<u32>"),
            request_binding(),
        ],
        ..Kernel::default()
    }
}

fn grow() -> Kernel {
    Kernel {
        label: "the growth of step counts".into(),
        file: "grow",
        constants: vec![("MAX_SCALARS", MAX_SCALARS as u64)],
        structs: vec![COUNTS_WGSL],
        bindings: vec![
            Binding::new(Resource::Outgrown, Access::Read, "outgrown", "Counts"),
            Binding::new(Resource::Counts, Access::ReadWrite, "step_counts", "Counts"),
        ],
        ..Kernel::default()
    }
}

fn table_writer(sums: bool, chance: bool) -> Kernel {
    let mut bindings = vec![
        Binding::new(Resource::Pieces, Access::Read, "pieces", "array<PieceWords>"),
        Binding::new(Resource::Nearest, Access::Read, "nearest", "array<u32>"),
        Binding::new(Resource::Table, Access::ReadWrite, "table", "array<vec4<u32>>"),
    ];
    let mut flags = Vec::new();
    if sums {
        bindings.push(tensors(Access::ReadWrite));
        flags.push("tensors");
    }
    if chance {
        bindings.push(origins(Access::ReadWrite));
        flags.push("origins");
    }
    Kernel {
        label: "the table of blocks".into(),
        file: "table",
        flags,
        structs: vec![PieceWords::WGSL],
        bindings,
        ..Kernel::default()
    }
}
