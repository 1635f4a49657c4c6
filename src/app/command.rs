//! Everything the window can be told to do: one enum with text, tooltip and shortcut. The menu
//! bar, the buttons and the keys all come from it.

use egui::{Button, Key, KeyboardShortcut, Modifiers, ThemePreference, Ui};

use super::dialog::Dialog;
use super::export;
use super::open::Wanted;

/// A thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Ask for a picture.
    OpenPicture,
    /// Ask for a model folder.
    OpenModel,
    /// Ask for a model file.
    OpenCheckpoint,
    /// Open the picture or the path on the clipboard.
    Paste,
    /// Ask what shall be exported.
    Export,
    /// The first page.
    Welcome,
    /// End.
    Quit,
    /// Take the last change of a setting back.
    Undo,
    /// Change it again.
    Redo,
    /// All knobs of all layers to their defaults.
    ResetKnobs,
    /// Panes back to their places.
    ResetLayout,
    /// The whole picture in each pane.
    ZoomFit,
    /// One picture pixel per screen pixel.
    ZoomActual,
    /// Choose the colours.
    Theme(ThemePreference),
    /// What was found in the model's file.
    LoadReport,
    /// The list of messages.
    Messages,
    /// What this program is.
    About,
}

/// What a control asks the window to do when the frame is drawn.
#[derive(Debug, Clone)]
pub enum Ask {
    /// A command.
    Do(Command),
    /// Open something.
    Open(Wanted),
    /// Ask with a dialog of the system.
    Dialog(Dialog),
    /// Ask how a pane shall be exported.
    ExportPane(&'static str),
    /// Export.
    Export(export::Wish),
    /// Open what a typed text names.
    OpenText(String),
    /// Look which recent files are still there.
    CheckRecent,
    /// Forget the recent files.
    ClearRecent,
    /// Show or hide a pane.
    TogglePane(&'static str),
    /// Bring the pane of a mechanism in front of those it shares its place with.
    Face(&'static str),
}

/// What is possible now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Can {
    /// There is a step to take back.
    pub undo: bool,
    /// There is a step to take again.
    pub redo: bool,
    /// A knob is away from its default.
    pub reset_knobs: bool,
    /// The panes are not where they start.
    pub reset_layout: bool,
    /// A picture is open.
    pub zoom: bool,
    /// A model is open.
    pub report: bool,
    /// There is something to write.
    pub export: bool,
    /// The chosen theme.
    pub theme: ThemePreference,
}

impl Command {
    /// Those with shortcuts, more modifiers first: Ctrl+Shift+Z must not be taken for Ctrl+Z.
    const WITH_KEYS: [Self; 10] = [
        Self::Export,
        Self::OpenCheckpoint,
        Self::Redo,
        Self::ResetKnobs,
        Self::OpenPicture,
        Self::Undo,
        Self::ZoomActual,
        Self::ZoomFit,
        Self::Quit,
        Self::About,
    ];

    /// Text in menus and on buttons.
    pub fn text(self) -> &'static str {
        match self {
            Self::OpenPicture => "Open picture…",
            Self::OpenModel => "Open model folder…",
            Self::OpenCheckpoint => "Open checkpoint…",
            Self::Paste => "Paste picture or path",
            Self::Export => "Export…",
            Self::Welcome => "Welcome…",
            Self::Quit => "Quit",
            Self::Undo => "Undo",
            Self::Redo => "Redo",
            Self::ResetKnobs => "Reset all knobs",
            Self::ResetLayout => "Reset layout",
            Self::ZoomFit => "Fit picture",
            Self::ZoomActual => "Actual size (1:1)",
            Self::Theme(ThemePreference::Dark) => "Dark",
            Self::Theme(ThemePreference::Light) => "Light",
            Self::Theme(ThemePreference::System) => "As the system",
            Self::LoadReport => "Load report…",
            Self::Messages => "Messages",
            Self::About => "About attnscope",
        }
    }

    /// What it does, in a sentence.
    pub fn tooltip(self) -> &'static str {
        match self {
            Self::OpenPicture => "Choose a picture file: PNG, JPEG, BMP, GIF, WebP or TIFF",
            Self::OpenModel => "Choose a folder with model.yaml and weights.safetensors",
            Self::OpenCheckpoint => {
                "Choose a checkpoint (.pt), weights (.safetensors) or a definition (.yaml)"
            }
            Self::Paste => "Open the picture on the clipboard, or the file whose path is there",
            Self::Export => {
                "Write a pane as a figure (PNG, SVG), its numbers (CSV, NPZ), or a view to open again"
            }
            Self::Welcome => "Example views, and where to begin",
            Self::Quit => "Close the window; next time it opens as it is now",
            Self::Undo => "Take the last change of a setting back",
            Self::Redo => "Make the change again",
            Self::ResetKnobs => {
                "Set the knobs of all layers to the values the model was built with"
            }
            Self::ResetLayout => "Show all panes in their first places",
            Self::ZoomFit => "Show the whole picture in each pane",
            Self::ZoomActual => {
                "Show about one pixel of the picture on one of the screen, in the widest pane"
            }
            Self::Theme(_) => "Colours of the window",
            Self::LoadReport => {
                "Tensors that were found, missing or left over in the model's file, and what was assumed"
            }
            Self::Messages => "All notes and errors since the start",
            Self::About => "Version, licence and what this program shows",
        }
    }

    /// Keys.
    pub fn shortcut(self) -> Option<KeyboardShortcut> {
        const BOTH: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);
        let (modifiers, key) = match self {
            Self::OpenPicture => (Modifiers::COMMAND, Key::O),
            Self::OpenCheckpoint => (BOTH, Key::O),
            Self::Paste => (Modifiers::COMMAND, Key::V),
            Self::Export => (Modifiers::COMMAND, Key::E),
            Self::Quit => (Modifiers::COMMAND, Key::Q),
            Self::Undo => (Modifiers::COMMAND, Key::Z),
            Self::Redo => (BOTH, Key::Z),
            Self::ResetKnobs => (BOTH, Key::R),
            Self::ZoomFit => (Modifiers::COMMAND, Key::Num9),
            Self::ZoomActual => (Modifiers::COMMAND, Key::Num1),
            Self::About => (Modifiers::NONE, Key::F1),
            _ => return None,
        };
        Some(KeyboardShortcut::new(modifiers, key))
    }

    /// Why it cannot be done now, if it cannot.
    pub fn why_not(self, can: &Can) -> Option<&'static str> {
        let (possible, why) = match self {
            Self::Undo => (can.undo, "No setting was changed"),
            Self::Redo => (can.redo, "Nothing was undone"),
            Self::ResetKnobs => (can.reset_knobs, "All knobs are at their defaults"),
            Self::ResetLayout => (can.reset_layout, "The panes are in their first places"),
            Self::Export => (can.export, "Nothing was analysed yet"),
            Self::LoadReport => (can.report, "No model is open"),
            Self::ZoomFit | Self::ZoomActual => (can.zoom, "No picture is open"),
            _ => return None,
        };
        (!possible).then_some(why)
    }

    /// The dialog that it opens.
    pub fn dialog(self) -> Option<Dialog> {
        match self {
            Self::OpenPicture => Some(Dialog::Picture),
            Self::OpenModel => Some(Dialog::Model),
            Self::OpenCheckpoint => Some(Dialog::Checkpoint),
            _ => None,
        }
    }

    /// A button or menu entry for it.
    pub fn button(self, ui: &mut Ui, can: &Can, asks: &mut Vec<Ask>) {
        let mut button = Button::new(self.text());
        if let Self::Theme(theme) = self {
            button = Button::selectable(theme == can.theme, self.text());
        }
        let in_menu = egui::containers::menu::is_in_menu(ui);
        let keys = self.shortcut().map(|s| ui.ctx().format_shortcut(&s));
        if let (Some(keys), true) = (&keys, in_menu) {
            button = button.shortcut_text(keys.as_str());
        }
        let why_not = self.why_not(can);
        let mut response = ui.add_enabled(why_not.is_none(), button);
        response = match (why_not, keys) {
            (Some(why), _) => response.on_disabled_hover_text(why),
            (None, Some(keys)) if !in_menu => {
                response.on_hover_text(format!("{} ({keys})", self.tooltip()))
            }
            _ => response.on_hover_text(self.tooltip()),
        };
        if response.clicked() {
            asks.push(Ask::Do(self));
            if in_menu {
                ui.close();
            }
        }
    }
}

/// The commands whose keys were pressed. While text is written its own undo comes first.
pub fn pressed(ctx: &egui::Context, can: &Can, asks: &mut Vec<Ask>) {
    let writing = ctx.text_edit_focused();
    ctx.input_mut(|input| {
        for command in Command::WITH_KEYS {
            if writing && matches!(command, Command::Undo | Command::Redo) {
                continue;
            }
            let shortcut = command.shortcut();
            let mut hit = shortcut.is_some_and(|s| input.consume_shortcut(&s));
            if command == Command::Redo {
                hit |= input.consume_key(Modifiers::COMMAND, Key::Y);
            }
            if hit && command.why_not(can).is_none() {
                asks.push(Ask::Do(command));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(key: Key, modifiers: Modifiers) -> Vec<Ask> {
        let can = Can {
            undo: true,
            redo: true,
            ..Can::default()
        };
        let event = egui::Event::Key {
            key,
            physical_key: None,
            pressed: true,
            repeat: false,
            modifiers,
        };
        let input = egui::RawInput {
            events: vec![event],
            ..Default::default()
        };
        let mut asks = Vec::new();
        let mut output =
            egui::Context::default().run_ui(input, |ui| pressed(ui.ctx(), &can, &mut asks));
        output.textures_delta.clear();
        asks
    }

    #[test]
    fn keys_mean_one_command_each() {
        let both = Modifiers::CTRL | Modifiers::COMMAND | Modifiers::SHIFT;
        let control = Modifiers::CTRL | Modifiers::COMMAND;
        for (key, modifiers, expected) in [
            (Key::Z, control, Command::Undo),
            (Key::Z, both, Command::Redo),
            (Key::Y, control, Command::Redo),
            (Key::O, control, Command::OpenPicture),
            (Key::O, both, Command::OpenCheckpoint),
            (Key::Q, control, Command::Quit),
        ] {
            let asks = press(key, modifiers);
            assert!(
                matches!(asks[..], [Ask::Do(c)] if c == expected),
                "{key:?}: {asks:?}"
            );
        }
        assert!(press(Key::Z, Modifiers::NONE).is_empty());
    }

    #[test]
    fn what_is_impossible_says_why() {
        let can = Can::default();
        assert!(Command::Undo.why_not(&can).is_some());
        assert!(Command::OpenPicture.why_not(&can).is_none());
    }
}
