//! Reads the opcodes of pickle protocols 2 to 5. Classes and functions stay names and calls stay
//! descriptions of calls: nothing is imported and nothing is run.

use std::collections::HashMap;

use super::input::Input;
use super::value::{Arena, Id, Object, Value};

/// Values of one pickle; an x-scale module has a tenth of it.
const MAX_VALUES: usize = 1 << 20;
/// Places on the stack, in the memo and in containers that were filled from others.
const MAX_PLACES: usize = 2 << 20;

/// What a pickle holds.
pub(super) struct Pickle<'a> {
    pub(super) arena: Arena<'a>,
    pub(super) root: Id,
    /// Everything that the pickle asks to be called, by module and name, each once.
    pub(super) calls: Vec<(&'a str, &'a str)>,
}

/// Reads a pickle.
///
/// # Errors
/// One sentence with the place in the pickle.
pub(super) fn read(data: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine = Machine {
        input: Input::new(data),
        arena: Arena::new(data),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        places: 0,
        calls: Vec::new(),
    };
    let root = loop {
        let at = machine.input.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => break root,
            Err(problem) => return Err(format!("its pickle is damaged: at byte {at}, {problem}")),
        }
    };
    let (arena, calls) = (machine.arena, machine.calls);
    let calls = distinct(&arena, calls);
    Ok(Pickle { arena, root, calls })
}

fn distinct<'a>(arena: &Arena<'a>, calls: Vec<Id>) -> Vec<(&'a str, &'a str)> {
    let mut names: Vec<_> = calls
        .into_iter()
        .filter_map(|id| arena.global(id))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

struct Machine<'a> {
    input: Input<'a>,
    arena: Arena<'a>,
    stack: Vec<Id>,
    /// Heights of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
    /// Spent of [`MAX_PLACES`].
    places: usize,
    /// Callables of calls.
    calls: Vec<Id>,
}

type Step<T = ()> = Result<T, String>;

impl<'a> Machine<'a> {
    /// One opcode; the root value at the end.
    fn step(&mut self) -> Step<Option<Id>> {
        let [op] = self.input.take()?;
        match op {
            // PROTO, FRAME
            0x80 => self.input.skip(1)?,
            0x95 => self.input.skip(8)?,
            b'.' => return self.pop().map(Some),
            b'0' => self.discard()?,
            b'1' => self.pop_to_mark().map(drop)?,
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'(' => {
                self.spend(1)?;
                self.marks.push(self.stack.len());
            }
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let bytes = self.input.take()?;
                self.push(Value::Int(i32::from_le_bytes(bytes).into()))?;
            }
            b'K' => {
                let [byte] = self.input.take()?;
                self.push(Value::Int(byte.into()))?;
            }
            b'M' => {
                let bytes = self.input.take()?;
                self.push(Value::Int(u16::from_le_bytes(bytes).into()))?;
            }
            b'G' => {
                let bytes = self.input.take()?;
                self.push(Value::Float(f64::from_be_bytes(bytes)))?;
            }
            0x8a | 0x8b => self.long(op)?,
            b'X' | 0x8c | 0x8d | b'T' | b'U' => self.text(op)?,
            b'B' | b'C' | 0x8e | 0x96 => {
                let width = self.input.length(op)?;
                self.input.span(width)?;
                self.push(Value::Bytes)?;
            }
            _ => self.step_container(op)?,
        }
        Ok(None)
    }

    fn step_container(&mut self, op: u8) -> Step {
        match op {
            b']' | b')' | 0x8f => self.push(Value::Sequence(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b'l' | b't' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push(Value::Sequence(items))?;
            }
            0x85..=0x87 => {
                let mut items = Vec::with_capacity(3);
                for _ in 0x84..op {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Value::Sequence(items))?;
            }
            b'd' => {
                let pairs = pairs(&self.pop_to_mark()?)?;
                self.push(Value::Dict(pairs))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.insert(vec![(key, value)])?;
            }
            b'u' => {
                let pairs = pairs(&self.pop_to_mark()?)?;
                self.insert(pairs)?;
            }
            _ => self.step_object(op)?,
        }
        Ok(())
    }

    fn step_object(&mut self, op: u8) -> Step {
        match op {
            b'c' => {
                let global = self.global()?;
                self.push(global)?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                match (self.arena.get(module), self.arena.get(name)) {
                    (Value::Text(module), Value::Text(name)) => {
                        let global = Value::Global(module.clone(), name.clone());
                        self.push(global)?;
                    }
                    _ => return Err("a class has no name".into()),
                }
            }
            // REDUCE calls anything; NEWOBJ only makes an instance.
            b'R' => {
                let args = self.pop()?;
                let callable = self.pop()?;
                self.reduce(callable, args)?;
            }
            0x81 | 0x92 => {
                if op == 0x92 {
                    self.discard()?;
                }
                let args = self.pop()?;
                let callable = self.pop()?;
                self.object(callable, args)?;
            }
            b'o' => {
                let items = self.pop_to_mark()?;
                let (callable, args) = items.split_first().ok_or("a call names nothing")?;
                let args = self.arena.add(Value::Sequence(args.to_vec()));
                self.calls.push(*callable);
                self.object(*callable, args)?;
            }
            b'i' => {
                let args = self.pop_to_mark()?;
                let global = self.global()?;
                let callable = self.arena.add(global);
                let args = self.arena.add(Value::Sequence(args));
                self.calls.push(callable);
                self.object(callable, args)?;
            }
            b'b' => {
                let state = self.pop()?;
                let target = self.top()?;
                if let Some(Value::Object(object)) = self.arena.get_mut(target) {
                    object.state = Some(state);
                }
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Outside(id))?;
            }
            _ => self.step_memo(op)?,
        }
        Ok(())
    }

    fn step_memo(&mut self, op: u8) -> Step {
        match op {
            b'q' | b'r' | 0x94 => {
                let index = match op {
                    0x94 => self.memo.len() as u64,
                    _ => self.memo_index(op == b'r')?,
                };
                let top = self.top()?;
                self.spend(1)?;
                self.memo.insert(index, top);
                Ok(())
            }
            b'h' | b'j' => {
                let index = self.memo_index(op == b'j')?;
                let id = self.memo.get(&index).copied();
                let id = id.ok_or_else(|| format!("value {index} was never kept"))?;
                self.push_id(id)
            }
            other => Err(format!("the opcode {other:#04x} is not known")),
        }
    }

    fn memo_index(&mut self, long: bool) -> Step<u64> {
        if long {
            return Ok(u32::from_le_bytes(self.input.take()?).into());
        }
        let [byte] = self.input.take()?;
        Ok(byte.into())
    }

    /// A call: containers are made at once, everything else stays a description.
    fn reduce(&mut self, callable: Id, args: Id) -> Step {
        let global = self.arena.global(callable);
        let first = |i: usize| self.arena.sequence(args).and_then(|a| a.get(i)).copied();
        match global {
            Some(("collections", "OrderedDict" | "defaultdict")) => {
                let from = if global == Some(("collections", "OrderedDict")) {
                    first(0)
                } else {
                    first(1)
                };
                let listed = from.and_then(|id| self.arena.sequence(id)).unwrap_or(&[]);
                let pair = |id: &Id| match self.arena.sequence(*id) {
                    Some([key, value]) => Some((*key, *value)),
                    _ => None,
                };
                let pairs: Vec<_> = listed.iter().filter_map(pair).collect();
                self.spend(pairs.len())?;
                self.push(Value::Dict(pairs))
            }
            Some(("builtins" | "__builtin__", "set" | "frozenset")) => {
                let items = first(0).and_then(|id| self.arena.sequence(id));
                let items = items.unwrap_or_default().to_vec();
                self.spend(items.len())?;
                self.push(Value::Sequence(items))
            }
            Some(("torch", "Size")) => match first(0) {
                Some(sides) => self.push_id(sides),
                None => self.push(Value::None),
            },
            _ => {
                if self.calls.last() != Some(&callable) {
                    self.calls.push(callable);
                }
                self.object(callable, args)
            }
        }
    }

    fn object(&mut self, callable: Id, args: Id) -> Step {
        self.push(Value::Object(Box::new(Object {
            callable,
            args,
            state: None,
        })))
    }

    fn append(&mut self, mut items: Vec<Id>) -> Step {
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Some(Value::Sequence(list)) => list.append(&mut items),
            // What is appended to an instance of an unknown class is of no use here.
            Some(Value::Object(_)) => {}
            _ => return Err("something is appended to what is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, mut new: Vec<(Id, Id)>) -> Step {
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Some(Value::Dict(pairs)) => pairs.append(&mut new),
            Some(Value::Object(_)) => {}
            _ => return Err("a key is set on what is no dictionary".into()),
        }
        Ok(())
    }

    /// An integer of any length.
    fn long(&mut self, op: u8) -> Step {
        let width = self.input.length(op)?;
        let span = self.input.span(width)?;
        let bytes = self.input.bytes(&span);
        let value = match bytes.last() {
            None => Value::Int(0),
            Some(last) if bytes.len() <= 8 => {
                let sign = if *last >= 0x80 { 0xff } else { 0 };
                let mut all = [sign; 8];
                for (to, from) in all.iter_mut().zip(bytes) {
                    *to = *from;
                }
                Value::Int(i64::from_le_bytes(all))
            }
            Some(_) => Value::Huge,
        };
        self.push(value)
    }

    fn text(&mut self, op: u8) -> Step {
        let width = self.input.length(op)?;
        let span = self.input.span(width)?;
        let value = match std::str::from_utf8(self.input.bytes(&span)) {
            Ok(_) => Value::Text(span),
            // A string of Python 2 may be anything.
            Err(_) if matches!(op, b'T' | b'U') => Value::Bytes,
            Err(_) => return Err("a text is not UTF-8".into()),
        };
        self.push(value)
    }

    /// Two lines: module and name.
    fn global(&mut self) -> Step<Value> {
        Ok(Value::Global(self.input.line()?, self.input.line()?))
    }

    fn spend(&mut self, places: usize) -> Step {
        self.places = self.places.saturating_add(places);
        if self.places > MAX_PLACES || self.arena.len() > MAX_VALUES {
            return Err(format!("there are more than {MAX_VALUES} values"));
        }
        Ok(())
    }

    fn push(&mut self, value: Value) -> Step {
        let id = self.arena.add(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: Id) -> Step {
        self.spend(1)?;
        self.stack.push(id);
        Ok(())
    }

    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(<[Id]>::last).copied();
        top.ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// POP takes a mark if there is nothing above it.
    fn discard(&mut self) -> Step {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    fn pop_to_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        if mark > self.stack.len() {
            return Err("the stack is empty".into());
        }
        Ok(self.stack.split_off(mark))
    }
}

/// Keys and values in turn.
fn pairs(items: &[Id]) -> Step<Vec<(Id, Id)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    match rest {
        [] => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err("a key has no value".into()),
    }
}
