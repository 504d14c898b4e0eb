//! Burn devices whose wgpu handles the optimizers know.
//!
//! Burn hands out a device's wgpu handles only once, when the device is made. So a device to be
//! trained on must be made or announced here.

use crate::error::Error;
use burn::tensor::Device;
use burn::tensor::wgpu::{WgpuInitError, WgpuOptions, WgpuSetup};
use std::sync::{Mutex, PoisonError};
use wgpu_optim::wgpu;

/// What a step needs of a device.
#[derive(Debug, Clone)]
pub(crate) struct WgpuHandles {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

/// There are few devices, and they exist as long as the process, as in Burn's own registry.
static KNOWN: Mutex<Vec<(Device, WgpuHandles)>> = Mutex::new(Vec::new());

/// Makes a Burn device that the optimizers can step on: `init_device(Device::wgpu_options())`
/// instead of `Device::default()`.
///
/// # Errors
/// As [`WgpuOptions::init`]: no adapter, or the device is in use already.
pub fn init_device(options: WgpuOptions) -> Result<Device, WgpuInitError> {
    let (device, setup) = options.init_with_setup()?;
    share_device(&device, &setup);
    Ok(device)
}

/// Tells the optimizers which wgpu handles a Burn device works with: for applications that own the
/// wgpu device and gave it to Burn by `Device::wgpu_options().setup(setup.clone()).init()`.
pub fn share_device(device: &Device, setup: &WgpuSetup) {
    let handles = WgpuHandles { device: setup.device.clone(), queue: setup.queue.clone() };
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|(other, _)| other != device);
    known.push((device.clone().inner(), handles));
}

/// The handles of a device, for the parameter that is there.
pub(crate) fn handles(device: &Device, parameter: &str) -> Result<WgpuHandles, Error> {
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known.iter().find(|(other, _)| other == device);
    found.map(|(_, handles)| handles.clone()).ok_or_else(|| Error::Parameter {
        parameter: parameter.to_owned(),
        expected: "a device that `init_device` made or `share_device` announced".to_owned(),
        found: format!("{device:?}"),
        remedy: "Make the device by `wgpu_optim_burn::init_device(Device::wgpu_options())` \
                 before its first tensor"
            .to_owned(),
    })
}
