use wgpu_optim::*;
#[test]
fn smoke() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default())).unwrap();
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    for rule in rules::all() {
        println!("{rule:?}");
    }
    let mut o = Optimizer::builder()
        .group(AdamW { lr: 0.1, ..Default::default() }, [("w", 1000), ("b", 3)])
        .build(&device, &queue)
        .unwrap();
    let mut c = CpuOptimizer::<f32>::builder()
        .group(AdamW { lr: 0.1, ..Default::default() }, [("w", 1000), ("b", 3)])
        .build()
        .unwrap();
    let w: Vec<f32> = (0..1000).map(|i| i as f32 * 0.01 - 3.0).collect();
    o.set_param("w", &w).unwrap();
    c.set_param("w", &w).unwrap();
    for s in 0..100 {
        let g: Vec<f32> = (0..1000).map(|i| ((i * 7 + s * 13) % 31) as f32 * 0.01 - 0.1).collect();
        o.set_grad("w", &g).unwrap();
        c.set_grad("w", &g).unwrap();
        let mut e = device.create_command_encoder(&Default::default());
        o.step(&mut e).unwrap();
        queue.submit([e.finish()]);
        c.step().unwrap();
    }
    let a = o.read_param("w").unwrap().wait().unwrap();
    let d = a.iter().zip(c.param("w").unwrap()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("max diff {d} {:?}", &a[..4]);
    assert!(d < 1e-5);
}
