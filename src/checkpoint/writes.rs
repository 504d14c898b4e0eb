//! Which of a parameter's arrays get what.

use crate::checkpoint::arrays::{Found, FoundParam};
use crate::checkpoint::draft::{Draft, From, Values, Write, lacks};
use crate::checkpoint::dtype::Dtype;
use crate::checkpoint::header::Header;
use crate::checkpoint::keys;
use crate::checkpoint::options::Options;
use crate::checkpoint::snapshot::{
    ParameterSnapshot, code_named, format_name, keeping_name, keeping_of,
};
use crate::checkpoint::told::Told;
use crate::error::Error;
use crate::layout::geometry::BLOCK;
use crate::model::{Code, Codec, Formats, Keeping, Map};
use crate::optimizer::{Array, Engine, Optimizer};

/// The writes of one parameter, in the making.
pub(super) struct Writes<'a, E: Engine> {
    pub optimizer: &'a Optimizer<E>,
    pub options: &'a Options,
    pub header: &'a Header,
    pub told: &'a Told,
    pub param: usize,
    pub found: &'a FoundParam,
    /// Whether the file has parameters.
    pub has_params: bool,
}

impl<E: Engine> Writes<'_, E> {
    pub fn plan(&self, draft: &mut Draft) {
        let keeps_alike = self.keeps_alike(draft);
        if !self.options.without_params {
            self.of_param(keeps_alike, draft);
            if let Some(grad) = self.found.grad {
                self.array(Array::Grad, "gradient", grad, draft);
            }
        }
        let rule = self.optimizer.model.rule_of(self.param);
        let formats = self.formats();
        let (own, first) = (formats.kept(), self.first_values(draft));
        for (index, (state, _)) in formats.arrays(rule).iter().enumerate() {
            let array = Array::State(index);
            let is_kept = own == Some(index);
            match self.found.states.get(state.name) {
                // The parameter, as it is joined with what the file keeps, sets it.
                _ if is_kept && !keeps_alike => {}
                Some(found) => self.array(array, state.name, *found, draft),
                None if self.found.states.is_empty() => {
                    self.push(array, From::Number(first(index)), draft);
                }
                None if is_kept && self.told.is_foreign() => {
                    self.push(array, From::Number(0.0), draft);
                }
                None => {
                    lacks(&self.optimizer.model, self.options, self.param, state.name, draft);
                    let is_copy = (rule.own().states().len()..rule.states().len()).contains(&index);
                    match is_copy {
                        true => self.copy_of_param(array, state.name, draft),
                        false => self.push(array, From::Number(first(index)), draft),
                    }
                }
            }
        }
        self.unknown_states(keeps_alike, draft);
    }

    /// Starts an average or a slow copy, which the file lacks, at the file's parameter.
    fn copy_of_param(&self, array: Array, name: &str, draft: &mut Draft) {
        let Some(found) = self.found.param.filter(|_| !self.options.without_params) else {
            return draft.problems.push(Error::parameter(
                self.name(),
                format!("its `{name}`, or its elements to start that from"),
                "a file that lacks both, or of which parameters are not loaded",
                "Load parameters too, or build the optimizer without the modifier",
            ));
        };
        let kept = self.snapshot().and_then(|snapshot| self.kept(snapshot));
        self.push(array, From::Values(self.values(Array::Param, found, kept)), draft);
    }

    /// What each state is before the first step, by the rule as it will be.
    fn first_values(&self, draft: &Draft) -> impl Fn(usize) -> f64 + use<E> {
        let model = &self.optimizer.model;
        let group = model.params[self.param].group;
        let new = draft.plan.groups.iter().find(|new| new.group == group);
        let states =
            new.map_or_else(|| model.rule_of(self.param).states(), |new| new.rule.states());
        // What is kept beside a parameter starts at 0.
        move |index| states.get(index).map_or(0.0, |state| state.value)
    }

    fn name(&self) -> &str {
        self.optimizer.model.name(self.param)
    }

    fn formats(&self) -> Formats {
        self.optimizer.model.params[self.param].formats
    }

    /// How the file's optimizer stored the parameter, if it tells.
    fn snapshot(&self) -> Option<&ParameterSnapshot> {
        self.told.parameter(self.name())
    }

    fn push(&self, array: Array, from: From, draft: &mut Draft) {
        let Optimizer { model, engine, .. } = self.optimizer;
        match engine.check_put(model, self.param, array) {
            Ok(()) => draft.plan.writes.push(Write { param: self.param, array, from }),
            Err(error) => draft.problems.push(error),
        }
    }

    /// Whether the same is kept beside the parameter here and in the file; refuses it if not,
    /// unless formats are converted.
    fn keeps_alike(&self, draft: &mut Draft) -> bool {
        let Some(snapshot) = self.snapshot() else { return true };
        let formats = self.formats();
        let (own, found) = (keeping_name(formats.keeping), snapshot.keeping.as_deref());
        let (param, key) =
            (format_name(formats.param), self.optimizer.model.params[self.param].noise_key);
        if own != found || (found.is_some() && param != snapshot.param) {
            if !self.options.convert {
                let of = |format: &str, kept: Option<&str>| {
                    format!("{format} with {}", kept.unwrap_or("nothing kept beside it"))
                };
                draft.problems.push(Error::parameter(
                    self.name(),
                    format!("a parameter that was stored as {}", of(param, own)),
                    of(&snapshot.param, found),
                    "Build the optimizer with the file's `Storage`, or call `convert`",
                ));
            }
            return false;
        }
        if formats.by_chance()
            && key != snapshot.noise_key
            && !self.options.is_renamed
            && !self.options.convert
        {
            draft.problems.push(Error::parameter(
                self.name(),
                "the seed of the rounding by chance that it was saved with",
                "another one",
                "Build the optimizer with the same seed, or call `convert` to go on with others",
            ));
        }
        true
    }

    fn of_param(&self, keeps_alike: bool, draft: &mut Draft) {
        let Some(found) = self.found.param else {
            if self.has_params {
                let key = keys::param(self.name());
                draft.missing(self.options, key.clone(), || {
                    Error::parameter(
                        self.name(),
                        "elements for it, as the file has them for others",
                        format!("no `{key}`"),
                        "Leave it as it is by `allow_missing`, or all by `without_params`",
                    )
                });
            }
            return;
        };
        if keeps_alike {
            return self.array(Array::Param, "parameter", found, draft);
        }
        if !self.has_shape("parameter", found, draft) {
            return;
        }
        let kept = self.snapshot().and_then(|snapshot| self.kept(snapshot));
        self.push(Array::Param, From::Values(self.values(Array::Param, found, kept)), draft);
    }

    /// What the file keeps beside the parameter, and what makes one number of both.
    fn kept(&self, snapshot: &ParameterSnapshot) -> Option<(Found, Formats)> {
        let keeping = keeping_of(snapshot.keeping.as_deref())?;
        let found = self.found.states.get(keeping.state()?)?;
        let param =
            if snapshot.param == format_name(Codec::Bf16) { Codec::Bf16 } else { Codec::F16 };
        Some((*found, Formats { param, keeping, ..Formats::default() }))
    }

    fn values(&self, array: Array, main: Found, kept: Option<(Found, Formats)>) -> Values {
        let transposed = self.options.transposed.get(self.name()).copied();
        Values { main, code: self.code(array), kept, transposed }
    }

    /// How elements of 8 bits in the file are coded: as it tells; otherwise as bitsandbytes does,
    /// with signs if the rule's state has some.
    fn code(&self, array: Array) -> Code {
        let dynamic = |signed| Code { map: Map::Dynamic, signed };
        let Array::State(index) = array else { return dynamic(true) };
        let rule = self.optimizer.model.rule_of(self.param);
        let arrays = self.formats().arrays(rule);
        let (state, codec) = arrays[index];
        let told = self.snapshot().and_then(|snapshot| snapshot.states.get(state.name));
        match (told.and_then(|name| code_named(name)), codec) {
            (Some(code), _) => code,
            (None, Codec::Block8(Code { signed, .. })) => dynamic(signed),
            _ => dynamic(!rule.non_negative_states().contains(&state.name)),
        }
    }

    /// An array that the file has.
    fn array(&self, array: Array, what: &str, found: Found, draft: &mut Draft) {
        let model = &self.optimizer.model;
        let codec = array.codec(model, self.param);
        if !(self.has_shape(what, found, draft) && self.has_type(what, codec, found, draft)) {
            return;
        }
        let values = self.values(array, found, None);
        let tensor = &self.header.tensors[found.tensor];
        let is_alike = tensor.dtype == Dtype::of::<E>(codec)
            && (!codec.in_blocks() || codec == Codec::Block8(values.code));
        let is_raw = is_alike && values.transposed.is_none();
        self.push(array, if is_raw { From::Raw(found) } else { From::Values(values) }, draft);
    }

    fn has_shape(&self, what: &str, found: Found, draft: &mut Draft) -> bool {
        let member = &self.optimizer.model.params[self.param];
        let tensor = &self.header.tensors[found.tensor];
        let own: Vec<_> = member.shape.sizes().iter().map(|&size| size as u64).collect();
        let mut expected = own.clone();
        if let Some([rows, columns]) = self.options.transposed.get(self.name()) {
            expected = vec![*rows as u64, *columns as u64];
        }
        let elements = |shape: &[u64]| shape.iter().product::<u64>();
        let fits = elements(&own) == elements(&expected)
            && elements(&expected) == elements(&tensor.shape)
            // A length says nothing of a shape.
            && (expected == tensor.shape || expected.len().min(tensor.shape.len()) <= 1);
        let scales = found.absmax.map(|absmax| &self.header.tensors[absmax]);
        let blocks = (member.len as u64).div_ceil(BLOCK);
        let has_scales = scales
            .is_none_or(|scales| scales.dtype == Dtype::F32 && elements(&scales.shape) == blocks);
        if !(fits && has_scales) {
            let found = scales.filter(|_| fits).map_or_else(
                || format!("{:?}", tensor.shape),
                |scales| format!("scales of {} in shape {:?}", scales.dtype.name(), scales.shape),
            );
            draft.problems.push(Error::parameter(
                self.name(),
                format!("`{what}` of shape {expected:?}"),
                found,
                "Give the parameter the file's shape; for a matrix the other way round call \
                 `transposed`",
            ));
        }
        fits && has_scales
    }

    fn has_type(&self, what: &str, codec: Codec, found: Found, draft: &mut Draft) -> bool {
        let dtype = self.header.tensors[found.tensor].dtype;
        let own = Dtype::of::<E>(codec);
        let is_number = dtype.significant_bits().is_some() || found.absmax.is_some();
        let is_kept = codec == Codec::I16 || dtype == Dtype::I16;
        let fits = match (found.absmax.is_some(), codec.in_blocks()) {
            (true, true) => true,
            // A block's numbers are f32.
            (true, false) => Dtype::F32.widens_to(own) || self.options.convert,
            (false, true) => is_number && self.options.convert,
            (false, false) => dtype.widens_to(own) || (is_number && self.options.convert),
        };
        let fits = if is_kept { dtype == own } else { fits };
        if !fits {
            let remedy = if is_number && !is_kept {
                "Build the optimizer with the file's formats, or call `convert`"
            } else {
                "Load what the same rule saved with the same formats"
            };
            draft.problems.push(Error::parameter(
                self.name(),
                format!("`{what}` as {} or narrower", format_name(codec)),
                dtype.name(),
                remedy,
            ));
        }
        fits
    }

    /// States of the file that the rule does not keep.
    fn unknown_states(&self, keeps_alike: bool, draft: &mut Draft) {
        let rule = self.optimizer.model.rule_of(self.param);
        let mut known: Vec<_> =
            self.formats().arrays(rule).iter().map(|(state, _)| state.name).collect();
        let listed = known.join(", ");
        known.push(keys::STEP);
        known.extend(rule.scalars().iter().map(|scalar| scalar.name));
        let kept = [Keeping::Master, Keeping::Remainder, Keeping::Loss];
        let is_kept = |state: &str| kept.iter().any(|kept| kept.state() == Some(state));
        let unknown =
            self.found.states.keys().filter(|state| {
                !(known.contains(&state.as_str()) || (!keeps_alike && is_kept(state)))
            });
        for state in unknown {
            draft.unexpected(self.options, keys::state(self.name(), state), || {
                Error::parameter(
                    self.name(),
                    format!("states that {} keeps: [{listed}]", rule.name()),
                    format!("`{state}` in the file"),
                    "Build the optimizer with the file's rule and options, or ignore it by \
                     `allow_unexpected`",
                )
            });
        }
    }
}
