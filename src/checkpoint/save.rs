//! Saving.

use crate::checkpoint::chunks::Chunks;
use crate::checkpoint::contents::Wanted;
use crate::checkpoint::describe::describe;
#[cfg(not(target_arch = "wasm32"))]
use crate::checkpoint::file::AtomicFile;
use crate::checkpoint::snapshot::Snapshot;
use crate::error::Error;
use crate::optimizer::{Engine, Optimizer};
use crate::optimizer::{Fetched, Wait};
use std::collections::BTreeMap;
use std::fmt::{self, Debug};

/// Bytes of a chunk: enough to hide how long a device takes to answer.
const CHUNK_BYTES: u64 = 4 << 20;

/// What is saved, and where to: [`Optimizer::save`] starts it.
#[must_use = "`file`, `bytes` or `chunks` saves"]
pub struct Save<'a, E: Engine> {
    optimizer: &'a mut Optimizer<E>,
    wanted: Wanted,
    user: BTreeMap<String, String>,
    chunk_bytes: u64,
    progress: Option<Box<dyn FnMut(u64, u64) + 'a>>,
}

impl<E: Engine> Debug for Save<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Save").field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl<E: Engine> Optimizer<E> {
    /// Saves everything that decides how the run goes on: see [`crate::checkpoint`].
    ///
    /// ```
    /// # use wgpu_optim::{Adam, CpuOptimizer};
    /// # let build = || CpuOptimizer::<f32>::builder().group(Adam::default(), [("w", 2)]).build();
    /// # let mut optimizer = build()?;
    /// let bytes = optimizer.save().user("epoch", "3").bytes()?;
    /// # let mut resumed = build()?;
    /// assert_eq!(resumed.load().bytes(&bytes)?.user["epoch"], "3");
    /// # Ok::<(), wgpu_optim::Error>(())
    /// ```
    pub fn save(&mut self) -> Save<'_, E> {
        Save {
            optimizer: self,
            wanted: Wanted { params: true, grads: false },
            user: BTreeMap::new(),
            chunk_bytes: CHUNK_BYTES,
            progress: None,
        }
    }

    /// The settings and counts that [`Self::save`] would write. It waits for the device; submits a
    /// copy where only the GPU knows the counts.
    ///
    /// # Errors
    /// The device was lost.
    pub fn snapshot(&mut self) -> Result<Snapshot, Error>
    where
        E::Fetch: Wait,
    {
        let fetched = self.engine.fetch(&self.model, &[], true)?.wait()?;
        self.described(fetched)
    }

    /// As [`Self::snapshot`], `.await`ed: for browsers and event loops.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub async fn snapshot_async(&mut self) -> Result<Snapshot, Error> {
        let fetched = self.engine.fetch(&self.model, &[], true)?.await?;
        self.described(fetched)
    }

    fn described(&self, fetched: Fetched) -> Result<Snapshot, Error> {
        let head = fetched.head.ok_or_else(|| Error::device("reading counts", "there are none"))?;
        Ok(describe(&self.model, &self.control, &head))
    }
}

impl<'a, E: Engine> Save<'a, E> {
    /// Leaves the parameters out, where something else saves them. A run resumes exactly only with
    /// parameters of the same step.
    pub fn without_params(mut self) -> Self {
        self.wanted.params = false;
        self
    }

    /// Saves the gradients too, as in the middle of an accumulation.
    pub fn grads(mut self) -> Self {
        self.wanted.grads = true;
        self
    }

    /// An entry of your own: a schedule, the place in the data, a random state.
    pub fn user(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.user.insert(key.into(), value.into());
        self
    }

    /// Is told after each chunk how many bytes of how many are written.
    pub fn progress(mut self, progress: impl FnMut(u64, u64) + 'a) -> Self {
        self.progress = Some(Box::new(progress));
        self
    }

    /// About how many bytes are read back at once; twice as many are on their way. Default 4 MiB.
    pub fn chunk_bytes(mut self, bytes: u64) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// The checkpoint's bytes, chunk by chunk, blocking or `.await`ed.
    pub fn chunks(self) -> Chunks<'a, E> {
        Chunks::new(self.optimizer, self.wanted, self.user, self.chunk_bytes)
    }

    /// Hands all chunks in order to something.
    fn each(mut self, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<u64, Error>
    where
        E::Fetch: Wait,
    {
        let mut progress = self.progress.take();
        let mut chunks = self.chunks();
        while let Some(chunk) = chunks.next() {
            take(&chunk?)?;
            if let (Some(progress), (done, Some(total))) = (&mut progress, chunks.progress()) {
                progress(done, total);
            }
        }
        Ok(chunks.progress().0)
    }

    /// The whole checkpoint in memory. It waits for the device.
    ///
    /// # Errors
    /// A recorded step has not run; a buffer of yours lacks `COPY_SRC`; the device was lost or has
    /// no memory left.
    pub fn bytes(self) -> Result<Vec<u8>, Error>
    where
        E::Fetch: Wait,
    {
        let mut bytes = Vec::new();
        self.each(|chunk| {
            bytes.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// As [`Self::bytes`], `.await`ed: for browsers, and for event loops that poll the device.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub async fn bytes_async(mut self) -> Result<Vec<u8>, Error> {
        let mut progress = self.progress.take();
        let (mut chunks, mut bytes) = (self.chunks(), Vec::new());
        while let Some(chunk) = chunks.next_chunk().await {
            bytes.extend(chunk?);
            if let (Some(progress), (done, Some(total))) = (&mut progress, chunks.progress()) {
                progress(done, total);
            }
        }
        Ok(bytes)
    }

    /// Writes a file, whole or not at all: into a temporary file beside it, which takes its place
    /// once everything is on the disk. A file that is there keeps its permissions; after an error
    /// it is as it was. Returns the number of bytes.
    ///
    /// # Errors
    /// As [`Self::bytes`]; or the file cannot be written.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn file(self, path: impl AsRef<std::path::Path>) -> Result<u64, Error> {
        let mut file = AtomicFile::create(path.as_ref())?;
        let bytes = self.each(|chunk| file.write(chunk))?;
        file.finish()?;
        Ok(bytes)
    }
}
