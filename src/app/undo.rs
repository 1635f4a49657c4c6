//! Undo and redo of settings. A drag is one step, however many values it passes.

use crate::engine::Settings;

/// Steps that are remembered.
const MOST: usize = 200;

/// Settings of the past and, after an undo, of the future.
#[derive(Debug)]
pub struct History {
    past: Vec<Settings>,
    future: Vec<Settings>,
    /// The settings at the end of the last step.
    settled: Settings,
}

impl History {
    /// A history that starts here.
    pub fn new(settings: &Settings) -> Self {
        Self {
            past: Vec::new(),
            future: Vec::new(),
            settled: settings.clone(),
        }
    }

    /// Looks at the settings once a frame. While a hand is on a control (`held`) the step goes on.
    pub fn follow(&mut self, settings: &Settings, held: bool) {
        if held || *settings == self.settled {
            return;
        }
        let before = std::mem::replace(&mut self.settled, settings.clone());
        self.past.push(before);
        if self.past.len() > MOST {
            self.past.remove(0);
        }
        self.future.clear();
    }

    /// Whether there is a step to take back.
    pub fn can_undo(&self) -> bool {
        !self.past.is_empty()
    }

    /// Whether there is a step to take again.
    pub fn can_redo(&self) -> bool {
        !self.future.is_empty()
    }

    /// Takes the last step back.
    pub fn undo(&mut self, settings: &mut Settings) {
        self.follow(settings, false);
        if let Some(before) = self.past.pop() {
            let now = std::mem::replace(&mut self.settled, before.clone());
            self.future.push(now);
            *settings = before;
        }
    }

    /// Takes a step again that was taken back.
    pub fn redo(&mut self, settings: &mut Settings) {
        self.follow(settings, false);
        if let Some(after) = self.future.pop() {
            let now = std::mem::replace(&mut self.settled, after.clone());
            self.past.push(now);
            *settings = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(size: usize) -> Settings {
        Settings {
            size: Some(size),
            ..Settings::default()
        }
    }

    #[test]
    fn a_drag_is_one_step() {
        let mut history = History::new(&at(320));
        for size in [352, 384, 416] {
            history.follow(&at(size), true);
        }
        history.follow(&at(416), false);
        let mut now = at(416);
        history.undo(&mut now);
        assert_eq!(now, at(320));
        assert!(!history.can_undo());
        history.redo(&mut now);
        assert_eq!(now, at(416));
        assert!(!history.can_redo());
    }

    #[test]
    fn a_new_step_forgets_the_future() {
        let mut history = History::new(&at(320));
        history.follow(&at(352), false);
        let mut now = at(352);
        history.undo(&mut now);
        history.follow(&at(384), false);
        assert!(!history.can_redo());
        now = at(384);
        history.undo(&mut now);
        assert_eq!(now, at(320));
    }

    #[test]
    fn an_undo_in_the_middle_of_a_drag_takes_the_drag_back() {
        let mut history = History::new(&at(320));
        history.follow(&at(640), true);
        let mut now = at(640);
        history.undo(&mut now);
        assert_eq!(now, at(320));
    }

    #[test]
    fn the_oldest_steps_go_first() {
        let mut history = History::new(&at(0));
        for size in 1..=MOST + 5 {
            history.follow(&at(size), false);
        }
        let mut now = at(MOST + 5);
        while history.can_undo() {
            history.undo(&mut now);
        }
        assert_eq!(now, at(5));
    }
}
