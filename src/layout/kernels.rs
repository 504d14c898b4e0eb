//! Which groups share a kernel: those of the same rule with the same options.

use crate::model::Model;
use crate::rule::DynRule;

/// The kernels of an optimizer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernels {
    /// The first group of each.
    first: Vec<usize>,
    /// Each group's kernel.
    of_group: Vec<usize>,
}

impl Kernels {
    /// Finds kernels for the groups that have none yet.
    pub fn extend(&mut self, model: &Model) {
        for index in self.of_group.len()..model.groups.len() {
            let key = |group: usize| {
                let rule = &model.groups[group].rule;
                (rule.name(), rule.wgsl(), rule.options())
            };
            let known = self.first.iter().position(|&first| key(first) == key(index));
            self.of_group.push(known.unwrap_or(self.first.len()));
            if known.is_none() {
                self.first.push(index);
            }
        }
    }

    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// A group's kernel.
    pub fn of(&self, group: usize) -> usize {
        self.of_group[group]
    }

    /// A kernel's rule; its numbers are some group's.
    pub fn rule<'a>(&self, model: &'a Model, kernel: usize) -> &'a dyn DynRule {
        model.groups[self.first[kernel]].rule.as_ref()
    }
}
