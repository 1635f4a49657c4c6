//! A pickled `nn.Module`: its tensors by the names of its state dict, and the hyperparameters that
//! its parts carry as plain attributes.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value as Json};

use super::json::{self, MAX_TEXT};
use super::shown;
use super::tensor;
use super::value::{Arena, Id};
use crate::checkpoint::tensors::Slot;

/// Modules inside modules; detectors have eight.
const MAX_DEPTH: usize = 32;
/// Modules, counted as often as they are used; x-scale detectors have a thousand.
const MAX_MODULES: usize = 50_000;
/// Attributes that are looked at; a module has thirty.
const MAX_ATTRIBUTES: usize = 1 << 20;
/// Hyperparameters that are kept.
const MAX_KEPT: usize = 20_000;
/// Tensors of one file.
pub(super) const MAX_TENSORS: usize = 20_000;
/// Characters of a tensor's name.
const MAX_NAME: usize = 256;

/// What a module holds.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// By state-dict name.
    pub(super) slots: BTreeMap<String, Slot>,
    /// Hyperparameters by row, then by dotted path below the row.
    pub(super) attributes: BTreeMap<usize, Map<String, Json>>,
    /// Class of each row, by its last component.
    pub(super) rows: BTreeMap<usize, String>,
}

/// The attributes of a value that is a module.
pub(super) fn module<'p>(arena: &'p Arena<'_>, id: Id) -> Option<&'p [(Id, Id)]> {
    let attributes = arena.attributes(id)?;
    arena.item(attributes, "_modules")?;
    Some(attributes)
}

/// Walks a module.
///
/// # Errors
/// One sentence; for a tensor that is not whole, with its name.
pub(super) fn walk(
    arena: &Arena<'_>,
    root: Id,
    storages: &HashMap<String, (u64, u64)>,
) -> Result<Tree, String> {
    let mut walk = Walk {
        arena,
        storages,
        tree: Tree::default(),
        modules: 0,
        looked_at: 0,
        kept: 0,
    };
    let mut open = vec![(root, String::new(), 0)];
    while let Some((id, path, depth)) = open.pop() {
        walk.modules += 1;
        if walk.modules > MAX_MODULES || depth > MAX_DEPTH {
            return Err(format!(
                "its modules are nested more than {MAX_DEPTH} deep or more than {MAX_MODULES}"
            ));
        }
        for (name, child) in walk.module(id, &path)? {
            open.push((child, format!("{path}{name}."), depth + 1));
        }
    }
    Ok(walk.tree)
}

struct Walk<'p, 'a> {
    arena: &'p Arena<'a>,
    storages: &'p HashMap<String, (u64, u64)>,
    tree: Tree,
    modules: usize,
    looked_at: usize,
    kept: usize,
}

impl<'a> Walk<'_, 'a> {
    /// Takes what a module holds itself; its children are returned. `path` ends in a dot.
    fn module(&mut self, id: Id, path: &str) -> Result<Vec<(&'a str, Id)>, String> {
        let arena = self.arena;
        let Some(attributes) = arena.attributes(id) else {
            return Ok(Vec::new());
        };
        let (module, class) = arena.class(id).unwrap_or_default();
        let row = row_of(path);
        if let Some((row, "")) = row {
            self.tree.rows.insert(row, shown(class));
        }
        let own = !module.starts_with("torch.");
        let mut children = Vec::new();
        // One pass: several look-ups in a dictionary that many modules share would take for ever.
        self.look_at(attributes.len())?;
        let kept = arena.item(attributes, "_non_persistent_buffers_set");
        let unkept = kept.and_then(|id| arena.sequence(id)).unwrap_or_default();
        for (key, value) in attributes {
            match (arena.text(*key), row) {
                (Some("_parameters"), _) => self.tensors(*value, path, &[])?,
                (Some("_buffers"), _) => self.tensors(*value, path, unkept)?,
                (Some("_modules"), _) => {
                    let listed = arena.dict(*value).unwrap_or_default();
                    self.look_at(listed.len())?;
                    for (key, child) in listed {
                        let name = name_of(arena, *key, path)?;
                        self.activation(name, *child, row);
                        children.push((name, *child));
                    }
                }
                (Some(name), Some((row, below))) if own => {
                    self.attribute(row, below, name, *value);
                }
                _ => {}
            }
        }
        Ok(children)
    }

    fn tensors(&mut self, table: Id, path: &str, unkept: &[Id]) -> Result<(), String> {
        let table = self.arena.dict(table).unwrap_or_default();
        self.look_at(table.len().saturating_mul(1 + unkept.len()))?;
        for (key, value) in table {
            let key = name_of(self.arena, *key, path)?;
            if unkept.iter().any(|id| self.arena.text(*id) == Some(key)) {
                continue;
            }
            let name = format!("{path}{key}");
            // A parameter that was not made is None.
            let Some(slot) = tensor::slot(self.arena, *value, self.storages) else {
                continue;
            };
            let slot = slot.map_err(|why| format!("{name} {why}"))?;
            self.tree.slots.insert(name, slot);
            if self.tree.slots.len() > MAX_TENSORS {
                return Err(format!("it has more than {MAX_TENSORS} tensors"));
            }
        }
        Ok(())
    }

    /// A hyperparameter, if the value is a number, a switch, a word or a short list of them.
    fn attribute(&mut self, row: usize, below: &str, name: &str, value: Id) {
        // Bookkeeping of PyTorch and Ultralytics: hooks, the row's place in the network.
        let bookkeeping = ["training", "i", "f", "type", "np", "inplace"];
        if name.starts_with('_') || bookkeeping.contains(&name) || name.len() > MAX_TEXT {
            return;
        }
        if let Some(value) = json::plain(self.arena, value) {
            self.keep(row, format!("{below}{name}"), value);
        }
    }

    /// The class of an activation, which no tensor tells. Deep inside a block, SiLU goes unsaid.
    fn activation(&mut self, name: &str, child: Id, row: Option<(usize, &str)>) {
        let (Some((row, below)), "act") = (row, name) else {
            return;
        };
        let Some((_, class)) = self.arena.class(child) else {
            return;
        };
        if class.len() <= MAX_TEXT && (class != "SiLU" || below.matches('.').count() <= 1) {
            self.keep(row, format!("{below}act"), Json::from(class));
        }
    }

    fn keep(&mut self, row: usize, path: String, value: Json) {
        self.kept += 1;
        if self.kept <= MAX_KEPT {
            let of_row = self.tree.attributes.entry(row).or_default();
            of_row.insert(path, value);
        }
    }

    fn look_at(&mut self, attributes: usize) -> Result<(), String> {
        self.looked_at = self.looked_at.saturating_add(attributes);
        match self.looked_at <= MAX_ATTRIBUTES {
            true => Ok(()),
            false => Err(format!("it has more than {MAX_ATTRIBUTES} attributes")),
        }
    }
}

/// The row in a path `model.<row>.` and what follows.
fn row_of(path: &str) -> Option<(usize, &str)> {
    let (row, below) = path.strip_prefix("model.")?.split_once('.')?;
    Some((row.parse().ok()?, below))
}

fn name_of<'a>(arena: &Arena<'a>, key: Id, path: &str) -> Result<&'a str, String> {
    match arena.text(key) {
        Some(name) if path.len() + name.len() <= MAX_NAME => Ok(name),
        Some(name) => Err(format!("the name {path}{} is too long", shown(name))),
        None => Err(format!("a part of {path} has no name")),
    }
}
