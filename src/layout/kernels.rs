//! Which groups share a kernel: those of the same rule with the same options.

use crate::model::{Formats, Model};
use crate::rule::DynRule;

/// Parameters of one kernel whose arrays are stored alike. They share buffers of states, and
/// dispatches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Its index.
    pub index: usize,
    /// How arrays are stored.
    pub formats: Formats,
}

/// The kernels of an optimizer.
#[derive(Debug, Default)]
pub(crate) struct Kernels {
    /// Each class: its kernel, and how arrays are stored.
    classes: Vec<(usize, Formats)>,
    /// Each parameter's class.
    of_param: Vec<usize>,
    /// The first group of each.
    first: Vec<usize>,
    /// Each group's kernel.
    of_group: Vec<usize>,
}

/// How much there was of everything, to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    classes: usize,
    params: usize,
    first: usize,
    groups: usize,
}

impl Kernels {
    /// What there is now.
    pub fn mark(&self) -> Mark {
        Mark {
            classes: self.classes.len(),
            params: self.of_param.len(),
            first: self.first.len(),
            groups: self.of_group.len(),
        }
    }

    /// Goes back to what there was, as if nothing had been added since.
    pub fn undo(&mut self, mark: Mark) {
        self.classes.truncate(mark.classes);
        self.of_param.truncate(mark.params);
        self.first.truncate(mark.first);
        self.of_group.truncate(mark.groups);
    }

    /// Finds kernels for the groups, and classes for the parameters, that have none yet.
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
        for param in &model.params[self.of_param.len()..] {
            let class = (self.of_group[param.group], param.formats);
            let known = self.classes.iter().position(|known| *known == class);
            self.of_param.push(known.unwrap_or(self.classes.len()));
            if known.is_none() {
                self.classes.push(class);
            }
        }
    }

    /// The classes, each with its kernel.
    pub fn classes(&self) -> impl ExactSizeIterator<Item = (usize, Class)> + '_ {
        let class = |(index, &(kernel, formats))| (kernel, Class { index, formats });
        self.classes.iter().enumerate().map(class)
    }

    /// A parameter's class.
    pub fn class(&self, param: usize) -> Class {
        let index = self.of_param[param];
        Class { index, formats: self.classes[index].1 }
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
