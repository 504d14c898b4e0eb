//! Errors of wgpu, caught and turned into ours.

use crate::error::Error;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Refuses a buffer of a parameter that was made without a usage that is needed.
pub(super) fn check_usage(
    parameter: &str,
    buffer: &wgpu::Buffer,
    needed: wgpu::BufferUsages,
) -> Result<(), Error> {
    if buffer.usage().contains(needed) {
        return Ok(());
    }
    Err(Error::parameter(
        parameter,
        format!("a buffer with the usage {needed:?}"),
        format!("{:?}", buffer.usage()),
        "Add the usage where the buffer is created",
    ))
}

/// Runs something that creates on the device, and turns wgpu's errors into ours.
pub(super) fn guarded<T>(
    device: &wgpu::Device,
    during: &'static str,
    create: impl FnOnce() -> T,
) -> Result<T, Error> {
    match scoped(device, create) {
        (_, Some(error)) => Err(told(device, during, error)),
        (created, None) => Ok(created),
    }
}

/// Our error for one of wgpu's.
pub(super) fn told(device: &wgpu::Device, during: &'static str, error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { source } => {
            // wgpu's text has the label of what it could not create, but no sizes.
            let needed = std::error::Error::source(&*source)
                .map_or_else(|| source.to_string(), |cause| format!("{source}: {cause}"));
            Error::OutOfMemory { during, needed }
        }
        error => failed(device, during, error),
    }
}

/// Our error for what did not work, perhaps since the device was lost.
pub(super) fn failed(
    device: &wgpu::Device,
    during: &'static str,
    message: impl std::fmt::Display,
) -> Error {
    if is_lost(device) { Error::Lost { during } } else { Error::device(during, message) }
}

/// Whether the device was lost. wgpu tells no error scope of it; but no buffer is mapped there.
pub(super) fn is_lost(device: &wgpu::Device) -> bool {
    let create = || {
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("wgpu-optim: is the device lost?"),
            size: wgpu::COPY_BUFFER_ALIGNMENT,
            usage: wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        buffer.slice(..).get_mapped_range_mut().is_ok()
    };
    matches!(scoped(device, create), (false, None))
}

/// All errors. That memory is full goes before, as what was not created makes more errors.
pub(super) const EVERY_ERROR: [wgpu::ErrorFilter; 3] =
    [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory];

/// Runs something that creates on the device, and gives wgpu's first error with what was created.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    create: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    scoped_by(device, EVERY_ERROR, create)
}

/// The same for some kinds of errors only, of which later ones go before.
///
/// A browser tells errors later, and nothing can wait for them here. There none is caught, so that
/// who can wait catches them ([`awaited`]) and all others reach the device's error handler.
pub(super) fn scoped_by<T, const N: usize>(
    device: &wgpu::Device,
    filters: [wgpu::ErrorFilter; N],
    create: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    if cfg!(target_arch = "wasm32") {
        return (create(), None);
    }
    let scopes = filters.map(|filter| device.push_error_scope(filter));
    let created = create();
    let mut first_error = None;
    for scope in scopes.into_iter().rev() {
        let error = now(scope.pop()).flatten();
        first_error = first_error.or(error);
    }
    (created, first_error)
}

/// The same where it can be awaited: in browsers too.
#[cfg(target_arch = "wasm32")]
pub(super) async fn awaited<T>(
    device: &wgpu::Device,
    create: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    let scopes = EVERY_ERROR.map(|filter| device.push_error_scope(filter));
    let created = create();
    // All are popped before any is awaited: other code may push scopes meanwhile.
    let mut errors: Vec<_> = scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop).collect();
    let mut first_error = None;
    for error in &mut errors {
        first_error = first_error.or(error.await);
    }
    (created, first_error)
}

/// The result of a future that is ready at once, as error scopes are wherever the library runs
/// beside the device.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
