//! Moving parameters between steps: to other buffers, or out of them. States stay where they are.

use crate::error::Error;
use crate::gpu::engine::{Gpu, Moved};
use crate::gpu::place::Place;
use crate::model::{Member, ParamKey};
use crate::optimizer::{Engine, Optimizer};

impl Optimizer<Gpu> {
    /// Moves parameters to other buffers or offsets, from the next recorded step on; those not
    /// named stay where they are. States and step counts stay; values are not copied.
    ///
    /// For engines whose gradients, or parameters, are in other memory in each step: with handles
    /// ([`Optimizer::id`]) nothing is looked up by name.
    ///
    /// # Errors
    /// A parameter is unknown or in the optimizer's own memory, buffers lack `STORAGE`, are another
    /// device's, destroyed or too small, or ranges overlap. Nothing has changed then.
    pub fn set_buffers<K: ParamKey>(
        &mut self,
        places: impl IntoIterator<Item = (K, Place)>,
    ) -> Result<(), Error> {
        let mut moved = std::mem::take(&mut self.engine.moved);
        moved.clear();
        let mut result = places
            .into_iter()
            .try_for_each(|(param, place)| self.move_to(param, &place, &mut moved));
        if result.is_ok() {
            result = self.engine.layout.check_overlaps();
        }
        for (param, old) in moved.drain(..).rev() {
            match result {
                Ok(()) => self.engine.release_place(old),
                Err(_) => {
                    let refused = self.engine.layout.places(param);
                    self.engine.release_place(refused);
                    self.engine.layout.restore(param, old);
                }
            }
        }
        self.engine.moved = moved;
        if result.is_ok() {
            self.engine.changed();
        }
        result
    }

    /// Moves one parameter, to be checked against the others.
    fn move_to(
        &mut self,
        param: impl ParamKey,
        place: &Place,
        moved: &mut Vec<Moved>,
    ) -> Result<(), Error> {
        let param = self.model.find(param)?;
        let engine = &mut self.engine;
        let Member { len, formats, .. } = &self.model.params[param];
        place.check(self.model.name(param), (*len, formats), &mut engine.probe)?;
        if engine.layout.is_in_arena(param) {
            return Err(Error::parameter(
                self.model.name(param),
                "a parameter in buffers of yours",
                "one in the optimizer's own",
                "Give it buffers when it is added, or copy your values by `set_param`",
            ));
        }
        let places = engine.take_place(place);
        let sizes = |buffer| engine.buffers.caller.size(buffer);
        match engine.layout.set_places(param, places, sizes) {
            Ok(old) => moved.push((param, old)),
            Err(error) => {
                engine.release_place(Some(places));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Freezes parameters and gives up their buffers, from the next recorded step on: the memory
    /// may be others' then. States and step counts stay, and can be read. To go on with a
    /// parameter, give it a place by [`Self::set_buffers`] and thaw it by
    /// [`Optimizer::set_frozen`].
    ///
    /// For engines whose pools give the memory of a parameter that takes no part in some steps to
    /// others.
    ///
    /// # Errors
    /// A parameter is unknown, or in the arena. Nothing has changed then.
    pub fn remove_buffers(
        &mut self,
        params: impl IntoIterator<Item = impl ParamKey>,
    ) -> Result<(), Error> {
        let removed = self.model.find_all(params)?;
        for &param in &removed {
            if self.engine.layout.is_in_arena(param) {
                return Err(Error::parameter(
                    self.model.name(param),
                    "a parameter in buffers of yours",
                    "one in the optimizer's own",
                    "Freeze it instead",
                ));
            }
        }
        if removed.is_empty() {
            return Ok(());
        }
        for param in removed {
            self.model.freeze(param, true);
            let old = self.engine.layout.remove(param);
            self.engine.release_place(old);
        }
        self.engine.changed();
        Ok(())
    }
}
