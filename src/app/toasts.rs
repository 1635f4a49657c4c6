//! Messages: each is shown once as a toast and kept in a list. Errors stay until they are closed.

use egui::{Align2, RichText, ScrollArea, vec2};

use super::theme;

/// Messages that the list keeps.
const MOST: usize = 200;
/// Toasts that are shown at a time.
const SHOWN: usize = 4;
/// Seconds that a note stays.
const NOTE_SECONDS: f64 = 8.0;
const WIDTH: f32 = 380.0;
/// Longer reports are scrolled.
const REPORT_HEIGHT: f32 = 160.0;

/// What a message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Good to know.
    Note,
    /// Something did not work.
    Error,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it means.
    pub kind: Kind,
    /// What it says; reports have many lines.
    pub text: String,
    number: u64,
    /// When the toast goes by itself, in egui's seconds; set when it is first drawn.
    until: Option<f64>,
    open: bool,
}

/// All messages since the start.
#[derive(Debug, Default)]
pub struct Toasts {
    list: Vec<Message>,
    count: u64,
    /// Whether the list is open.
    pub list_open: bool,
}

impl Toasts {
    /// Tells something that is good to know.
    pub fn note(&mut self, text: impl Into<String>) {
        self.add(Kind::Note, text.into());
    }

    /// Tells what did not work. The same words that still stand there are not said twice.
    pub fn error(&mut self, text: impl Into<String>) {
        self.add(Kind::Error, text.into());
    }

    /// Every message, oldest first.
    pub fn messages(&self) -> &[Message] {
        &self.list
    }

    fn add(&mut self, kind: Kind, text: String) {
        if self.list.iter().any(|m| m.open && m.text == text) {
            return;
        }
        self.count += 1;
        self.list.push(Message {
            kind,
            text,
            number: self.count,
            until: None,
            open: true,
        });
        if self.list.len() > MOST {
            self.list.remove(0);
        }
    }

    /// Draws the toasts above the lower right corner of `area`, and the list if it is open.
    pub fn show(&mut self, ctx: &egui::Context, area: egui::Rect) {
        self.let_notes_go(ctx);
        let open = self.list.iter().filter(|m| m.open).count();
        if open > 0 {
            egui::Area::new(egui::Id::unique("toasts"))
                .order(egui::Order::Foreground)
                .pivot(Align2::RIGHT_BOTTOM)
                .fixed_pos(area.right_bottom() - vec2(theme::WIDE, theme::WIDE))
                .show(ctx, |ui| {
                    ui.set_max_width(WIDTH);
                    let newest = self
                        .list
                        .iter_mut()
                        .filter(|m| m.open)
                        .skip(open.saturating_sub(SHOWN));
                    for message in newest {
                        toast(ui, message);
                    }
                });
        }
        if self.list_open {
            self.list_window(ctx);
        }
    }

    fn let_notes_go(&mut self, ctx: &egui::Context) {
        let now = ctx.input(|i| i.time);
        let notes = self
            .list
            .iter_mut()
            .filter(|m| m.open && m.kind == Kind::Note);
        for message in notes {
            let until = *message.until.get_or_insert(now + NOTE_SECONDS);
            if until <= now {
                message.open = false;
            } else {
                ctx.request_repaint_after(std::time::Duration::from_secs_f64(until - now));
            }
        }
    }

    fn list_window(&mut self, ctx: &egui::Context) {
        let mut open = true;
        egui::Window::new("Messages")
            .open(&mut open)
            .collapsible(false)
            .default_size([520.0, 320.0])
            .default_pos(ctx.content_rect().center() - vec2(260.0, 160.0))
            .show(ctx, |ui| {
                if self.list.is_empty() {
                    ui.label("There are no messages.");
                    return;
                }
                if ui.button("Copy all").clicked() {
                    let texts: Vec<&str> = self.list.iter().map(|m| m.text.as_str()).collect();
                    ctx.copy_text(texts.join("\n\n"));
                }
                ui.separator();
                ScrollArea::vertical().auto_shrink(false).show(ui, |ui| {
                    for message in self.list.iter().rev() {
                        ui.push_id(message.number, |ui| {
                            title(ui, message);
                            ui.add(egui::Label::new(&message.text).wrap().selectable(true));
                            ui.separator();
                        });
                    }
                });
            });
        self.list_open = open;
    }
}

fn title(ui: &mut egui::Ui, message: &Message) {
    match message.kind {
        Kind::Note => ui.label(RichText::new("Note").strong()),
        Kind::Error => {
            let color = ui.visuals().error_fg_color;
            ui.label(RichText::new("Not possible").strong().color(color))
        }
    };
}

fn toast(ui: &mut egui::Ui, message: &mut Message) {
    let frame = egui::Frame::popup(ui.style()).inner_margin(theme::MARGIN);
    frame.show(ui, |ui| {
        ui.set_width(WIDTH - 2.0 * f32::from(theme::MARGIN));
        ui.push_id(message.number, |ui| {
            ui.horizontal(|ui| {
                title(ui, message);
                ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                    if ui.small_button("Close").clicked() {
                        message.open = false;
                    }
                    if message.kind == Kind::Error && ui.small_button("Copy").clicked() {
                        ui.ctx().copy_text(message.text.clone());
                    }
                });
            });
            ScrollArea::vertical()
                .max_height(REPORT_HEIGHT)
                .min_scrolled_height(REPORT_HEIGHT)
                .show(ui, |ui| {
                    ui.add(egui::Label::new(&message.text).wrap().selectable(true));
                });
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_are_said_once_while_they_stand_there() {
        let mut toasts = Toasts::default();
        toasts.error("a");
        toasts.error("a");
        toasts.error("b");
        assert_eq!(toasts.messages().len(), 2);
        toasts.list[0].open = false;
        toasts.error("a");
        assert_eq!(toasts.messages().len(), 3);
    }

    #[test]
    fn notes_go_and_errors_stay() {
        let ctx = egui::Context::default();
        let mut toasts = Toasts::default();
        toasts.note("note");
        toasts.error("error");
        for time in [0.0, NOTE_SECONDS + 0.1] {
            let input = egui::RawInput {
                time: Some(time),
                ..Default::default()
            };
            let mut output = ctx.run_ui(input, |ui| toasts.let_notes_go(ui.ctx()));
            output.textures_delta.clear();
        }
        let open: Vec<&str> = toasts
            .list
            .iter()
            .filter(|m| m.open)
            .map(|m| m.text.as_str())
            .collect();
        assert_eq!(open, ["error"]);
    }
}
