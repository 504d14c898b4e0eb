//! Loading.

use crate::checkpoint::apply::apply;
use crate::checkpoint::arrays::FoundArrays;
use crate::checkpoint::draft::Plan;
use crate::checkpoint::header::{Bounds, Header};
#[cfg(not(target_arch = "wasm32"))]
use crate::checkpoint::input::open;
use crate::checkpoint::input::{Input, ReadSeek};
use crate::checkpoint::keys;
use crate::checkpoint::options::Options;
use crate::checkpoint::plan::Planner;
use crate::checkpoint::told::Told;
use crate::checkpoint::verify::verify;
use crate::error::Error;
use crate::optimizer::{Engine, Optimizer};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::io::{Cursor, Read, Seek};

/// What is loaded, and from where: [`Optimizer::load`] starts it.
#[must_use = "`file`, `bytes` or `reader` loads"]
pub struct Load<'a, E: Engine> {
    optimizer: &'a mut Optimizer<E>,
    options: Options,
    rename: Option<Rename<'a>>,
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
}

/// Makes the optimizer's names of the file's.
type Rename<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// What was loaded.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Loaded {
    /// Parameters whose states and counts were loaded.
    pub parameters: Vec<String>,
    /// What the file lacks, if that was allowed: parameters' names and keys.
    pub missing: Vec<String>,
    /// Keys that the file has beyond, if that was allowed.
    pub unexpected: Vec<String>,
    /// The entries that [`Save::user`](super::Save::user) saved.
    pub user: BTreeMap<String, String>,
    /// All other entries of the file, such as PyTorch's `scheduler` as JSON.
    pub metadata: BTreeMap<String, String>,
}

impl<E: Engine> Debug for Load<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<E: Engine> Optimizer<E> {
    /// Loads a checkpoint of [`Self::save`]'s or of PyTorch's, by the parameters' names: see
    /// [`crate::checkpoint`]. Groups, order, placement and device may be others than where it was
    /// saved. Everything is checked before anything changes.
    ///
    /// Submit what was recorded before: a step that runs later would change what was loaded.
    pub fn load(&mut self) -> Load<'_, E> {
        Load { optimizer: self, options: Options::default(), rename: None, progress: None }
    }
}

impl<'a, E: Engine> Load<'a, E> {
    /// Leaves parameters that the file lacks as they are; states that it lacks start anew.
    pub fn allow_missing(mut self) -> Self {
        self.options.allow_missing = true;
        self
    }

    /// Ignores what the file has beyond the optimizer's parameters and states.
    pub fn allow_unexpected(mut self) -> Self {
        self.options.allow_unexpected = true;
        self
    }

    /// Makes the optimizer's names of the file's: `|name| name.replace("_orig_mod.", "")`.
    pub fn rename(mut self, rename: impl Fn(&str) -> String + 'a) -> Self {
        self.options.is_renamed = true;
        self.rename = Some(Box::new(rename));
        self
    }

    /// Tells that a parameter is a matrix of so many rows and columns in the file and transposed
    /// here, as PyTorch's `[out, in]` is Burn's `[in, out]`. By the optimizer's name.
    pub fn transposed(mut self, name: impl Into<String>, file: [usize; 2]) -> Self {
        self.options.transposed.insert(name.into(), file);
        self
    }

    /// Keeps the optimizer's hyperparameters, multipliers and control settings, and takes arrays,
    /// counts and the loss scale only.
    pub fn keep_hyperparameters(mut self) -> Self {
        self.options.keep_hyperparameters = true;
        self
    }

    /// Converts formats that cannot hold the file's numbers exactly, as f32 to bf16. Without it
    /// numbers are only widened.
    pub fn convert(mut self) -> Self {
        self.options.convert = true;
        self
    }

    /// Leaves parameters and gradients as they are, where something else loads them.
    pub fn without_params(mut self) -> Self {
        self.options.without_params = true;
        self
    }

    /// Does not compare the file with its checksum first, and so reads it once: for large files
    /// that were just written or compared. Of a damaged one nobody hears then.
    pub fn skip_checksum(mut self) -> Self {
        self.options.skip_checksum = true;
        self
    }

    /// Is told how many bytes of how many are read. All are read twice, for the checksum first.
    pub fn progress(mut self, progress: impl FnMut(u64, u64) + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// Loads a file.
    ///
    /// # Errors
    /// [`Error::File`] if it is not there, is no safetensors file, was written by a later version,
    /// or differs from its checksum; [`Error::Checkpoint`], which lists all that does not fit the
    /// optimizer. Nothing has changed then. If the device is lost, or the file changes meanwhile,
    /// the optimizer takes no step until something is loaded whole.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn file(self, path: impl AsRef<std::path::Path>) -> Result<Loaded, Error> {
        let (mut file, name) = open(path.as_ref())?;
        self.from(&mut file, name)
    }

    /// Loads from memory.
    ///
    /// # Errors
    /// As a file.
    pub fn bytes(self, bytes: &[u8]) -> Result<Loaded, Error> {
        self.from(&mut Cursor::new(bytes), "bytes".into())
    }

    /// Loads from anything that can be read at any place.
    ///
    /// # Errors
    /// As a file.
    pub fn reader(self, mut reader: impl Read + Seek) -> Result<Loaded, Error> {
        self.from(&mut reader, "reader".into())
    }

    fn from(self, reader: &mut dyn ReadSeek, name: String) -> Result<Loaded, Error> {
        let Self { optimizer, options, rename, mut progress } = self;
        optimizer.model.check_swapped("to be replaced by loaded ones")?;
        let rename =
            |name: &str| rename.as_ref().map_or_else(|| name.into(), |rename| rename(name));
        let mut input = Input::new(reader, name)?;
        let header = Header::read(&mut input, bounds(optimizer))?;
        let told = Told::read(&header.metadata, &input, &rename)?;
        let found = FoundArrays::sort(&header, &rename);
        let mut told_progress = |done: u64, total: u64| {
            if let Some(progress) = &mut progress {
                progress(done, total);
            }
        };
        let checksum = found.checksum.filter(|_| !options.skip_checksum);
        let verified = if checksum.is_some() { input.len } else { 0 };
        let all = verified + input.len;
        verify(&mut input, &header, checksum, |done| told_progress(done, all))?;
        let planner = Planner { optimizer, options: &options, header: &header, told: &told };
        let plan = planner.plan(&found, &mut input)?;
        let loaded = loaded(&plan, header.metadata.clone());
        apply(optimizer, plan, &header, &mut input, |done| told_progress(verified + done, all))?;
        Ok(loaded)
    }
}

fn loaded(plan: &Plan, metadata: BTreeMap<String, String>) -> Loaded {
    let own = [keys::SNAPSHOT, keys::FORMAT.0];
    let mut loaded = Loaded {
        parameters: plan.loaded.clone(),
        missing: plan.missing.clone(),
        unexpected: plan.unexpected.clone(),
        ..Loaded::default()
    };
    for (key, value) in metadata {
        match key.strip_prefix(keys::USER) {
            Some(key) => loaded.user.insert(key.into(), value),
            None if own.contains(&key.as_str()) => None,
            None => loaded.metadata.insert(key, value),
        };
    }
    loaded
}

/// Arrays that a file may have for each parameter: itself, its gradient, a rule's states and what
/// is kept, each with scales, its step count and scalars.
const MOST_ARRAYS: usize = 24;

/// Bytes of a header for what is no parameter's: the caller's entries.
const OTHER_BYTES: u64 = 16 << 20;

/// Arrays of a file that may be there beside the optimizer's own.
const OTHER_TENSORS: usize = 1 << 16;

/// Bytes of an array's entry in a header, beside its name.
const ENTRY_BYTES: u64 = 256;

/// What a header of this optimizer's can take. A larger one is hostile: reading it would take many
/// times its size in memory.
fn bounds<E: Engine>(optimizer: &Optimizer<E>) -> Bounds {
    let model = &optimizer.model;
    let names: u64 = (0..model.params.len()).map(|param| model.name(param).len() as u64).sum();
    let tensors = MOST_ARRAYS * model.params.len() + OTHER_TENSORS;
    // A name's bytes may be escaped, six for one.
    let bytes = 6 * MOST_ARRAYS as u64 * names + ENTRY_BYTES * tensors as u64 + OTHER_BYTES;
    Bounds { tensors, bytes }
}
