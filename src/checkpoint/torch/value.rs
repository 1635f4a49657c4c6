//! What a pickle describes: values in one arena, addressed by number. Sharing costs nothing, cycles
//! do no harm, and nesting, however deep, is dropped without recursion.

use std::ops::Range;

/// The number of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// Bytes of the pickle.
pub(super) type Span = Range<u32>;

/// One value. Text is not copied out of the pickle.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits; nothing needs its digits.
    Huge,
    Float(f64),
    /// UTF-8.
    Text(Span),
    Bytes,
    /// Lists, tuples and sets.
    Sequence(Vec<Id>),
    /// The last of equal keys counts.
    Dict(Vec<(Id, Id)>),
    /// A class or function by module and name; never looked up.
    Global(Span, Span),
    /// What calling something would have made; nothing is called.
    Object(Box<Object>),
    /// Something outside the pickle: a storage.
    Outside(Id),
}

/// A call that was not made, and what was done to its result.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) callable: Id,
    /// A [`Value::Sequence`], mostly.
    pub(super) args: Id,
    pub(super) state: Option<Id>,
}

/// The values of a pickle.
#[derive(Debug)]
pub(super) struct Arena<'a> {
    data: &'a [u8],
    values: Vec<Value>,
}

impl<'a> Arena<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        let values = Vec::new();
        Self { data, values }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Adds a value. Callers keep count below `u32::MAX`.
    pub(super) fn add(&mut self, value: Value) -> Id {
        self.values.push(value);
        Id((self.values.len() - 1) as u32)
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        // Ids are only made by `add`.
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    pub(super) fn get_mut(&mut self, id: Id) -> Option<&mut Value> {
        self.values.get_mut(id.0 as usize)
    }

    fn str(&self, span: &Span) -> &'a str {
        let bytes = self.data.get(span.start as usize..span.end as usize);
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }

    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.get(id) {
            Value::Text(span) => Some(self.str(span)),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Value::Int(i) => Some(*i),
            _ => None,
        }
    }

    pub(super) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value of a text key.
    pub(super) fn item(&self, dict: &[(Id, Id)], key: &str) -> Option<Id> {
        let found = dict.iter().rev().find(|(k, _)| self.text(*k) == Some(key));
        found.map(|(_, value)| *value)
    }

    /// Module and name of a class or function.
    pub(super) fn global(&self, id: Id) -> Option<(&'a str, &'a str)> {
        match self.get(id) {
            Value::Global(module, name) => Some((self.str(module), self.str(name))),
            _ => None,
        }
    }

    pub(super) fn object(&self, id: Id) -> Option<&Object> {
        match self.get(id) {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// What an object would have been made by: module and name.
    pub(super) fn class(&self, id: Id) -> Option<(&'a str, &'a str)> {
        self.global(self.object(id)?.callable)
    }

    /// The attributes of an object. A state may be `(attributes, slots)`.
    pub(super) fn attributes(&self, id: Id) -> Option<&[(Id, Id)]> {
        let state = self.object(id)?.state?;
        match self.get(state) {
            Value::Dict(pairs) => Some(pairs),
            Value::Sequence(items) => self.dict(*items.first()?),
            _ => None,
        }
    }
}
