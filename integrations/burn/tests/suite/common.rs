//! A device, a model, and gradients for it.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, OptimizerRecord};
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{Device, DeviceKind, Tensor, TensorData};
use burn_pack::{Reader, Writer};
use std::sync::OnceLock;

/// The one device of the tests.
pub fn device() -> Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    // The kind is named, since `Device::default()` skips software adapters.
    let make = || {
        let options = Device::wgpu_options().device_kind(DeviceKind::DefaultDevice);
        wgpu_optim_burn::init_device(options).expect("a wgpu adapter").autodiff()
    };
    DEVICE.get_or_init(make).clone()
}

/// Another device of the same adapter, which the application owns.
pub fn other_device() -> &'static (Device, WgpuSetup) {
    static OTHER: OnceLock<(Device, WgpuSetup)> = OnceLock::new();
    OTHER.get_or_init(|| {
        let of_kind = |kind| Device::wgpu_options().device_kind(kind).init_with_setup();
        let made = of_kind(DeviceKind::Cpu).or_else(|_| of_kind(DeviceKind::DiscreteGpu(0)));
        let (_, setup) = made.expect("another device");
        let device = Device::wgpu_options().setup(setup.clone()).init().unwrap();
        wgpu_optim_burn::share_device(&device, &setup);
        (device.autodiff(), setup)
    })
}

/// A small model with a norm between two layers.
#[derive(Module, Debug)]
pub struct Net {
    pub first: Linear,
    pub norm: LayerNorm,
    pub second: Linear,
}

pub const IN: usize = 7;
pub const HIDDEN: usize = 33;
pub const OUT: usize = 5;

impl Net {
    pub fn new(device: &Device) -> Self {
        let net = Self {
            first: LinearConfig::new(IN, HIDDEN).init(device),
            norm: LayerNormConfig::new(HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, OUT).init(device),
        };
        fixed(net)
    }

    pub fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.norm.forward(self.first.forward(input)).tanh())
    }

    pub fn loss(&self, batch: usize) -> Tensor<1> {
        let device = self.second.weight.device();
        let input = numbers::<2>([8, IN], batch, &device);
        let target = numbers::<2>([8, OUT], batch + 100, &device);
        (self.forward(input) - target).square().mean()
    }

    pub fn grads(&self, batch: usize) -> GradientsParams {
        GradientsParams::from_grads(self.loss(batch).backward(), self)
    }
}

/// Numbers that only depend on the seed, between -1 and 1.
pub fn series(len: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u64 * 7919 + 12345;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

pub fn numbers<const D: usize>(shape: [usize; D], seed: usize, device: &Device) -> Tensor<D> {
    let values = series(shape.iter().product(), seed);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The same model with values that only depend on the place of a parameter.
pub fn fixed<M: Module>(module: M) -> M {
    struct Fix(usize);
    impl burn::module::ModuleMapper for Fix {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let seed = self.0;
            param.map(|tensor| {
                let values = numbers(tensor.dims(), seed, &tensor.device()).mul_scalar(0.5);
                Tensor::from_inner(values.inner()).require_grad()
            })
        }
    }
    module.map(&mut Fix(0))
}

/// All values of a module's parameters, in order.
pub fn values<M: Module>(module: &M) -> Vec<Vec<f32>> {
    #[derive(Default)]
    struct Values(Vec<Vec<f32>>, Vec<ParamId>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(data(param.val()));
            self.1.push(param.id);
        }
    }
    let mut values = Values::default();
    module.visit(&mut values);
    values.0
}

pub fn data<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32")
}

/// The largest difference, relative to the larger magnitude beyond 1.
pub fn difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    pairs.map(|(a, b)| (a - b).abs() / a.abs().max(1.0)).fold(0.0, f32::max)
}

/// Parameters without a model around them.
#[derive(Module, Debug)]
pub struct Bag {
    pub weights: Vec<Param<Tensor<2>>>,
    pub bias: Param<Tensor<1>>,
}

impl Bag {
    pub fn new(device: &Device) -> Self {
        Self::of(3, device)
    }

    /// A bag of so many weights.
    pub fn of(weights: usize, device: &Device) -> Self {
        let weight = |seed| parameter([3, 5 + seed % 9], seed, device);
        Self { weights: (0..weights).map(weight).collect(), bias: parameter([70], 9, device) }
    }

    /// Gradients for all parameters, new tensors each time.
    pub fn grads(&self, step: usize) -> GradientsParams {
        let mut grads = GradientsParams::new();
        for (index, weight) in self.weights.iter().enumerate() {
            register(&mut grads, weight, step * 10 + index);
        }
        register(&mut grads, &self.bias, step * 10 + 9);
        grads
    }

    /// The values of these gradients, in the order of the parameters.
    pub fn grad_values(&self, grads: &GradientsParams) -> Vec<Vec<f32>> {
        let weight = |weight: &Param<Tensor<2>>| data(grads.get::<2>(weight.id).unwrap());
        let bias = data(grads.get::<1>(self.bias.id).unwrap());
        self.weights.iter().map(weight).chain([bias]).collect()
    }
}

pub fn parameter<const D: usize>(
    shape: [usize; D],
    seed: usize,
    device: &Device,
) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), numbers(shape, seed, device).require_grad())
}

pub fn register<const D: usize>(
    grads: &mut GradientsParams,
    param: &Param<Tensor<D>>,
    seed: usize,
) {
    let tensor = numbers(param.dims(), seed + 1000, &param.device().inner());
    grads.register(param.id, tensor);
}

/// The bits of all values, for comparisons that allow no rounding.
pub fn bits<M: Module>(module: &M) -> Vec<Vec<u32>> {
    values(module)
        .iter()
        .map(|values| values.iter().map(|value| value.to_bits()).collect())
        .collect()
}

/// A record with those of its numbers, arrays and texts whose names these hold for.
pub fn changed(
    record: OptimizerRecord,
    numbers: impl Fn(&str) -> bool,
    arrays: impl Fn(&str) -> bool,
    texts: impl Fn(&str) -> bool,
) -> OptimizerRecord {
    let reader = Reader::from_bytes(record.into_bytes().unwrap()).unwrap();
    let (own_numbers, own_texts) = (reader.scalars().clone(), reader.metadata().clone());
    let own_arrays = reader.into_tensors().unwrap().into_iter();
    let mut writer = Writer::new(own_arrays.filter(|array| arrays(&array.name)).collect());
    for (name, number) in own_numbers.into_iter().filter(|(name, _)| numbers(name)) {
        writer = writer.with_scalar(&name, number);
    }
    for (name, text) in own_texts.into_iter().filter(|(name, _)| texts(name)) {
        writer = writer.with_metadata(&name, &text);
    }
    OptimizerRecord::from_bytes(writer.into_bytes().unwrap()).unwrap()
}
