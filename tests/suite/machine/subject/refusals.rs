//! What makes no sense.

use super::known::Where;
use super::{RATE, Subject};
use wgpu_optim::{Error, Param, Place, wgpu};

impl Subject {
    /// What makes no sense is refused, and changes nothing.
    pub(super) fn be_refused(&mut self) {
        let param = self.any();
        let known = &self.params[param];
        let name = known.name.as_str();
        let optimizer = &mut self.optimizer;
        let rule = self.rules[0].boxed();
        let nobody = wgpu::BufferUsages::STORAGE;
        let short = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("too short"),
            size: 4,
            usage: nobody,
            mapped_at_creation: false,
        });
        let choice = self.random.next() % 8;
        self.log.push(format!("refused {choice} {name}"));
        let refused: Result<(), Error> = match choice {
            0 => optimizer.add_group(rule, [("new", 700), (name, 3)]).map(|_| ()),
            1 => {
                let new = Param::new("new", 700).buffers(&short, &short);
                optimizer.add_group(rule, [Param::new("newer", 3), new]).map(|_| ())
            }
            2 => optimizer.set_steps(name, 1 << 32),
            3 => optimizer.set_lr(self.groups.len(), RATE),
            4 => optimizer.set_lr(0, f64::NAN),
            5 => optimizer.set_frozen([name, "nobody"], true),
            6 => optimizer.set_grad(name, &vec![0.0; known.len + 1]),
            _ => {
                // Two of the caller's parameters at one place.
                let nonempty =
                    self.params.iter().filter(|known| known.len > 1 && known.place != Where::Arena);
                let names: Vec<_> = nonempty.map(|known| known.name.as_str()).collect();
                let [first, second, ..] = names[..] else { return };
                let [a, b] = self.pool.buffers.each_ref();
                optimizer.set_buffers([
                    (first, Place::new((a, 0), (b, 0))),
                    (second, Place::new((a, 0), (b, 0))),
                ])
            }
        };
        refused.expect_err("it makes no sense");
    }
}
