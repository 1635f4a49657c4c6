//! What a pickled detector says of itself: its task, its definition, its class names.

use serde_json::{Map, Value as Json};

use super::Checkpoint;
use super::json;
use super::machine::Pickle;
use super::shown;
use super::tree::Tree;
use super::value::{Arena, Id, Value};

/// Reads the attributes of the module `id`, whose parts are in `tree`.
///
/// # Errors
/// If it is no detector, with what it is.
pub(super) fn read(pickle: &Pickle<'_>, id: Id, tree: Tree) -> Result<Checkpoint, String> {
    let arena = &pickle.arena;
    let own = arena.attributes(id).unwrap_or_default();
    let (module, class) = arena.class(id).unwrap_or_default();
    let item = |key: &str| arena.item(own, key);
    let task = item("task").and_then(|id| arena.text(id));
    let definition = item("yaml").and_then(|id| json::deep(arena, id));
    let definition = match definition {
        Some(Json::Object(map)) if map.contains_key("backbone") => map,
        _ => return no_definition(module, class, tree),
    };
    refuse_other_tasks(task, class, &tree)?;
    let mut notes = Vec::new();
    let definition = tidy(definition, &tree, &mut notes)?;
    let root = arena.dict(pickle.root).unwrap_or_default();
    Ok(Checkpoint {
        names: item("names").and_then(|id| names(arena, id)),
        definition: Some(definition),
        trained_size: trained_size(arena, root, own),
        attributes: tree.attributes,
        slots: tree.slots,
        skipped: Vec::new(),
        notes,
    })
}

/// A module without a definition is of use beside a YAML file, if it is built like a detector.
fn no_definition(module: &str, class: &str, tree: Tree) -> Result<Checkpoint, String> {
    if tree.rows.len() < 2 || !tree.rows.keys().copied().eq(0..tree.rows.len()) {
        let class = shown(&format!("{module}.{class}"));
        return Err(format!("it holds a {class}; expected a YOLO detector"));
    }
    Ok(Checkpoint {
        attributes: tree.attributes,
        slots: tree.slots,
        ..Checkpoint::default()
    })
}

/// Names of the tasks and of the modules at their ends.
const TASKS: [(&str, &str, &str); 6] = [
    ("segment", "Segment", "an instance segmentation model"),
    ("pose", "Pose", "a pose model"),
    ("obb", "OBB", "a model of rotated boxes"),
    ("classify", "Classify", "a classification model"),
    ("rtdetr", "RTDETR", "an RT-DETR model"),
    ("world", "World", "an open-vocabulary model"),
];

fn refuse_other_tasks(task: Option<&str>, class: &str, tree: &Tree) -> Result<(), String> {
    let last = tree.rows.last_key_value().map_or("", |(_, class)| class);
    let other = TASKS.iter().find(|(name, end, _)| {
        task == Some(*name) || class.starts_with(end) || last.starts_with(end)
    });
    let what = match (other, task) {
        (Some((_, _, what)), _) => (*what).to_owned(),
        (None, Some(task)) if task != "detect" => format!("a model for {}", shown(task)),
        _ => return Ok(()),
    };
    let class = shown(class);
    Err(format!(
        "it is {what} ({class}); expected a detection model"
    ))
}

/// The definition with what the checkpoint knows better than it.
fn tidy(
    mut definition: Map<String, Json>,
    tree: &Tree,
    notes: &mut Vec<String>,
) -> Result<Map<String, Json>, String> {
    // Names that other places hold, and paths of the machine it was trained on.
    for key in ["names", "attributes", "yaml_file", "ckpt"] {
        definition.remove(key);
    }
    let empty = |v: &Json| v.is_null() || v.as_str() == Some("");
    if definition.get("scale").is_some_and(empty) {
        definition.remove("scale");
    }
    for key in ["ch", "channels"] {
        match definition.get(key).and_then(Json::as_i64) {
            None | Some(3) => {}
            Some(n) => {
                return Err(format!(
                    "its input has {n} channels; expected 3, red, green and blue"
                ));
            }
        }
    }
    one_to_one(&mut definition, tree, notes);
    compare_rows(&definition, tree, notes);
    Ok(definition)
}

/// Whether there is a one-to-one head is for the tensors to say: fusing may have taken one away.
fn one_to_one(definition: &mut Map<String, Json>, tree: &Tree, notes: &mut Vec<String>) {
    let Some(last) = tree.rows.keys().next_back() else {
        return;
    };
    let start = format!("model.{last}.one2one_");
    let mut after = tree.slots.range(start.clone()..);
    let has = after
        .next()
        .is_some_and(|(name, _)| name.starts_with(&start));
    let said = definition.get("end2end").and_then(Json::as_bool);
    let v10 = tree.rows.get(last).is_some_and(|c| c == "v10Detect");
    if has != said.unwrap_or(v10) {
        let there = if has { "a" } else { "no" };
        notes.push(format!(
            "the checkpoint has {there} one-to-one head; its definition says otherwise"
        ));
    }
    if has || said.is_some() {
        definition.insert("end2end".into(), Json::Bool(has));
    }
}

/// Notes on rows whose module is of another class than the definition says.
fn compare_rows(definition: &Map<String, Json>, tree: &Tree, notes: &mut Vec<String>) {
    let part = |key: &str| definition.get(key).and_then(Json::as_array);
    let rows = [part("backbone"), part("head")].into_iter().flatten();
    for (i, row) in rows.flatten().enumerate() {
        let written = row.get(2).and_then(Json::as_str).unwrap_or_default();
        let written = written.rsplit('.').next().unwrap_or_default();
        match tree.rows.get(&i) {
            None => notes.push(format!("row {i} ({}) is not in the module", shown(written))),
            // A repeated module.
            Some(class) if class == "Sequential" || class == written => {}
            Some(class) => notes.push(format!(
                "row {i} is a {class} in the checkpoint, but {} in its definition; read as the latter",
                shown(written)
            )),
        }
    }
}

/// Class names: a list, or a dictionary numbered from 0.
fn names(arena: &Arena<'_>, id: Id) -> Option<Vec<String>> {
    let text = |v: Json| match v {
        Json::String(s) => s,
        other => other.to_string(),
    };
    match json::deep(arena, id)? {
        Json::Array(list) => Some(list.into_iter().map(text).collect()),
        Json::Object(map) => (0..map.len())
            .map(|i| map.get(&i.to_string()).cloned().map(text))
            .collect(),
        _ => None,
    }
}

/// `imgsz` of the training arguments, in the checkpoint or the module.
fn trained_size(arena: &Arena<'_>, root: &[(Id, Id)], own: &[(Id, Id)]) -> Option<u64> {
    let args = arena.item(root, "train_args").or(arena.item(own, "args"))?;
    let args = match arena.get(args) {
        Value::Dict(pairs) => pairs,
        _ => arena.attributes(args)?,
    };
    let size = arena.int(arena.item(args, "imgsz")?)?;
    u64::try_from(size).ok()
}
