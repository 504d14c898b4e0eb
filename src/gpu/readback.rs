//! Values on their way back from the GPU.

use crate::error::Error;
use crate::gpu::guard::{failed, guarded};
use std::fmt::{self, Debug, Display};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Values that were copied for reading. Wait for them (`wait`), or `.await` them while something
/// else polls the device. In a browser, which polls it by itself and where nothing can wait, there
/// is no `wait`.
#[must_use = "the values come by `wait` or `.await`"]
pub struct Readback<T = Vec<f32>> {
    device: wgpu::Device,
    #[cfg(not(target_arch = "wasm32"))]
    submission: Option<wgpu::SubmissionIndex>,
    staging: Vec<wgpu::Buffer>,
    places: Vec<Place>,
    progress: Arc<Progress>,
    decode: Decode<T>,
}

/// Makes values of the bytes of each part read. They may start anywhere in memory.
type Decode<T> = Box<dyn Fn(&[&[u8]]) -> T + Send + Sync>;

/// Where a part is: the index of its staging buffer, and its bytes therein.
#[derive(Debug)]
struct Place {
    staging: usize,
    bytes: Range<usize>,
}

impl<T> Debug for Readback<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readback").field("progress", &self.progress).finish_non_exhaustive()
    }
}

/// A range of a buffer that is read: the buffer, an offset and a size in bytes.
pub(super) type Source<'a> = (&'a wgpu::Buffer, u64, u64);

/// What the mapping callbacks have said so far, and a way to hear of the last.
#[derive(Debug, Default)]
struct Progress {
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Buffers that are not yet mapped.
    pending: usize,
    failed: bool,
    waker: Option<Waker>,
}

const DURING: &str = "reading values back";

/// How long callbacks may take to run on another thread once the device has finished.
#[cfg(not(target_arch = "wasm32"))]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

impl<T> Readback<T> {
    /// Copies parts of buffers and submits the copy.
    pub(super) fn start(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        parts: &[Source<'_>],
        decode: impl Fn(&[&[u8]]) -> T + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let (places, sizes) = pack(parts, device.limits().max_buffer_size);
        let progress = Arc::new(Progress::default());
        lock(&progress.state).pending = sizes.len();
        let (staging, _submission) = guarded(device, DURING, || {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
                label: Some("wgpu-optim readback"),
            });
            let staging: Vec<_> = sizes.iter().map(|&size| create(device, size)).collect();
            for ((source, offset, size), place) in parts.iter().zip(&places) {
                let (to, at) = (&staging[place.staging], place.bytes.start as u64);
                encoder.copy_buffer_to_buffer(source, *offset, to, at, *size);
            }
            staging.iter().for_each(|staging| map(&mut encoder, staging, &progress));
            let submission = (!staging.is_empty()).then(|| queue.submit([encoder.finish()]));
            (staging, submission)
        })?;
        Ok(Self {
            device: device.clone(),
            #[cfg(not(target_arch = "wasm32"))]
            submission: _submission,
            staging,
            places,
            progress,
            decode: Box::new(decode),
        })
    }

    /// Waits for the values, polling the device. Not in browsers: `.await` them there.
    ///
    /// # Errors
    /// The device was lost.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn wait(self) -> Result<T, Error> {
        if let Some(submission_index) = &self.submission {
            let poll = wgpu::PollType::Wait {
                submission_index: Some(submission_index.clone()),
                timeout: None,
            };
            self.device.poll(poll).map_err(|error| self.failed(error))?;
        }
        self.wait_for_callbacks()?;
        self.values()
    }

    fn failed(&self, message: impl Display) -> Error {
        failed(&self.device, DURING, message)
    }

    /// Waits for callbacks that another thread, which polled the same device, is about to run.
    #[cfg(not(target_arch = "wasm32"))]
    fn wait_for_callbacks(&self) -> Result<(), Error> {
        let Progress { state, finished } = &*self.progress;
        let (state, _) = finished
            .wait_timeout_while(lock(state), PATIENCE, |state| state.pending > 0)
            .unwrap_or_else(PoisonError::into_inner);
        if state.pending > 0 {
            return Err(Error::device(
                DURING,
                "the values are not there although the device was waited for",
            ));
        }
        Ok(())
    }

    /// The values, once all is mapped.
    fn values(&self) -> Result<T, Error> {
        if lock(&self.progress.state).failed {
            return Err(self.failed("the copy could not be mapped"));
        }
        let view = |staging: &wgpu::Buffer| staging.slice(..).get_mapped_range();
        let views = self.staging.iter().map(view).collect::<Result<Vec<_>, _>>();
        let views = views.map_err(|error| self.failed(error))?;
        let bytes = |place: &Place| &views[place.staging][place.bytes.clone()];
        Ok((self.decode)(&self.places.iter().map(bytes).collect::<Vec<_>>()))
    }
}

impl<T> Future for Readback<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.progress.state);
        if state.pending > 0 {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(self.values())
    }
}

/// Where each part goes, one after another in as few buffers as their greatest size allows; and the
/// sizes of these.
fn pack(parts: &[Source<'_>], most: u64) -> (Vec<Place>, Vec<u64>) {
    let mut sizes: Vec<u64> = Vec::new();
    let place = |&(_, _, size): &Source<'_>| {
        if sizes.last().is_none_or(|filled| filled + size > most) {
            sizes.push(0);
        }
        let staging = sizes.len() - 1;
        let start = sizes[staging];
        sizes[staging] += size;
        Place { staging, bytes: start as usize..(start + size) as usize }
    };
    (parts.iter().map(place).collect(), sizes)
}

/// A buffer to copy parts to.
fn create(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("wgpu-optim readback"),
        size,
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}

/// Has a buffer mapped once the copies to it have run.
fn map(encoder: &mut wgpu::CommandEncoder, staging: &wgpu::Buffer, progress: &Arc<Progress>) {
    let report = Report { progress: progress.clone(), mapped: false };
    encoder.map_buffer_on_submit(staging, wgpu::MapMode::Read, .., move |result| {
        let mut report = report;
        report.mapped = result.is_ok();
    });
}

/// Reports one buffer when its callback has run, or was dropped without running.
struct Report {
    progress: Arc<Progress>,
    mapped: bool,
}

impl Drop for Report {
    fn drop(&mut self) {
        let mut state = lock(&self.progress.state);
        state.pending = state.pending.saturating_sub(1);
        state.failed |= !self.mapped;
        if state.pending == 0 {
            let waker = state.waker.take();
            drop(state);
            self.progress.finished.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The state is plain numbers, sound even if a thread panicked while it held the lock.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes as words.
pub(super) fn words_of(bytes: &[u8]) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(bytes)
}
