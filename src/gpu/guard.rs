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
        (_, Some(error)) => Err(Error::device(during, error)),
        (created, None) => Ok(created),
    }
}

/// Runs something that creates on the device, and gives wgpu's first error with what was created.
pub(super) fn scoped<T>(
    device: &wgpu::Device,
    create: impl FnOnce() -> T,
) -> (T, Option<wgpu::Error>) {
    let scopes = [
        device.push_error_scope(wgpu::ErrorFilter::Internal),
        device.push_error_scope(wgpu::ErrorFilter::OutOfMemory),
        device.push_error_scope(wgpu::ErrorFilter::Validation),
    ];
    let created = create();
    let mut first_error = None;
    for scope in scopes.into_iter().rev() {
        let error = now(scope.pop()).flatten();
        first_error = first_error.or(error);
    }
    (created, first_error)
}

/// The result of a future that is ready at once, as error scopes are wherever the library runs
/// beside the device. In browsers they are not; errors reach the device's own handler there.
pub(super) fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
