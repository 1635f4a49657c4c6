//! Pictures of the real window, taken one after the other: those in README.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use egui::{ColorImage, ScreenshotCallback, ThemePreference, ViewportCommand};

use super::keep::Kept;
use super::{App, AppOptions};
use crate::attention::KnobValue;
use crate::files::FileSet;
use crate::{Error, Result};

/// Frames to let pass after everything is analysed, so that nothing moves any more.
const SETTLED_FRAMES: usize = 12;
/// A window that has not settled by then never will.
const PATIENCE: Duration = Duration::from_secs(60);

/// One picture: its name, the size of the window, and how the window is set.
struct Shot {
    name: &'static str,
    size: [f32; 2],
    set: fn(&mut Kept),
}

/// Every picture that README and CONTRIBUTING show.
const SHOTS: &[Shot] = &[
    Shot {
        name: "window.png",
        size: [1400.0, 900.0],
        set: |kept| {
            kept.theme = ThemePreference::Dark;
            press(kept, [176.0, 112.0]);
        },
    },
    Shot {
        name: "light.png",
        size: [1400.0, 900.0],
        set: |kept| {
            kept.theme = ThemePreference::Light;
            press(kept, [352.0, 118.0]);
            kept.layout.show_pane("selected");
            ask(kept, "super_token", "composed");
            ask(kept, "routing", "token_attention");
            kept.layout.show_pane("position_sensitive");
        },
    },
    Shot {
        name: "evidence.png",
        size: [1400.0, 900.0],
        set: |kept| {
            kept.theme = ThemePreference::Dark;
            press(kept, [176.0, 112.0]);
            kept.selection.detection = Some(0);
            kept.layout.show_pane("evidence");
            kept.layout.show_pane("polarized");
            ask(kept, "super_token", "token_attention");
            ask(kept, "routing", "in_degree");
            ask(kept, "polarized", "channels");
        },
    },
    Shot {
        name: "knobs.png",
        size: [1100.0, 760.0],
        set: |kept| {
            kept.theme = ThemePreference::Dark;
            kept.asking.clear();
            kept.layout.show_pane("layers");
            kept.layer = Some(8);
            let knobs = kept.settings.knobs.entry(8).or_default();
            knobs.insert("topk".into(), KnobValue::Int(9));
            let knobs = kept.settings.knobs.entry(5).or_default();
            knobs.insert("stoken_size".into(), KnobValue::Int(5));
            knobs.insert("n_iter".into(), KnobValue::Int(3));
        },
    },
];

fn press(kept: &mut Kept, point: [f32; 2]) {
    kept.selection.press(point);
}

fn ask(kept: &mut Kept, mechanism: &str, question: &str) {
    let asking = kept.asking.entry(mechanism.to_owned()).or_default();
    asking.question = Some(question.to_owned());
}

/// Opens a window, takes all pictures and writes them to `out`, all or none.
///
/// # Errors
/// If there is no window, a picture cannot be taken, or `out` cannot be written.
pub fn take(options: AppOptions, out: &Path) -> Result<()> {
    let mut native = super::native_options();
    // What the person keeps is neither shown nor touched.
    let scratch =
        tempfile::tempdir().map_err(|e| Error::path(out, e, "room for temporary files"))?;
    native.persistence_path = Some(scratch.path().join("state.ron"));
    let (send, receive) = channel();
    super::open(native, move |cc| {
        Ok(Box::new(Photographer {
            app: App::new(options, None, &cc.egui_ctx)?,
            shot: 0,
            set: false,
            calm: 0,
            since: Instant::now(),
            taken: Vec::new(),
            done: send,
            picture: None,
        }))
    })?;
    let taken = receive.recv().map_err(|_| {
        Error::path(
            out,
            "the window was closed before all pictures were taken",
            "a window that stays open",
        )
    })??;
    write(out, taken)
}

type Taken = Vec<(&'static str, Arc<ColorImage>)>;

/// The window with somebody who takes pictures of it.
struct Photographer {
    app: App,
    shot: usize,
    /// Whether the window is set for the shot.
    set: bool,
    /// Frames since everything was analysed.
    calm: usize,
    since: Instant,
    taken: Taken,
    done: Sender<Result<Taken>>,
    /// The picture that was asked for.
    picture: Option<Receiver<Arc<ColorImage>>>,
}

impl Photographer {
    fn finish(&mut self, ctx: &egui::Context, result: Result<Taken>) {
        // Nobody listens only if the window is closing already.
        let _ = self.done.send(result);
        ctx.send_viewport_cmd(ViewportCommand::Close);
    }

    fn step(&mut self, ctx: &egui::Context) {
        ctx.request_repaint();
        let Some(shot) = SHOTS.get(self.shot) else {
            return;
        };
        if self.since.elapsed() > PATIENCE {
            let why = format!("the window did not settle for {}", shot.name);
            self.finish(ctx, Err(Error::Setting(why)));
            self.shot = SHOTS.len();
            return;
        }
        if !self.set {
            (shot.set)(&mut self.app.kept);
            ctx.set_theme(self.app.kept.theme);
            ctx.send_viewport_cmd(ViewportCommand::InnerSize(shot.size.into()));
            self.set = true;
            return;
        }
        let image = self.picture.as_ref().and_then(|p| p.try_recv().ok());
        if let Some(image) = image {
            self.taken.push((shot.name, image));
            self.shot += 1;
            self.picture = None;
            (self.set, self.calm, self.since) = (false, 0, Instant::now());
            if self.shot == SHOTS.len() {
                let taken = std::mem::take(&mut self.taken);
                self.finish(ctx, Ok(taken));
            }
            return;
        }
        self.calm = if self.app.is_settled() {
            self.calm + 1
        } else {
            0
        };
        if self.calm == SETTLED_FRAMES {
            let (send, receive) = channel();
            self.picture = Some(receive);
            // Nobody listens only if the window is closing already.
            let callback = ScreenshotCallback::new(move |image| drop(send.send(image)));
            ctx.send_viewport_cmd(ViewportCommand::Screenshot(callback));
        }
    }
}

impl eframe::App for Photographer {
    fn logic(&mut self, ctx: &egui::Context, frame: &mut eframe::Frame) {
        self.app.logic(ctx, frame);
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        self.app.ui(ui, frame);
        self.step(ui.ctx());
    }
}

fn write(out: &Path, taken: Taken) -> Result<()> {
    let mut files = FileSet::new(PathBuf::from(out))?;
    for (name, image) in taken {
        let [width, height] = image.size.map(|s| s as u32);
        let rgb: Vec<u8> = image
            .pixels
            .iter()
            .flat_map(|p| [p.r(), p.g(), p.b()])
            .collect();
        let failed = |e: &dyn std::fmt::Display| {
            Error::path(&out.join(name), e, "a picture that can be written")
        };
        let picture = image::RgbImage::from_raw(width, height, rgb)
            .ok_or_else(|| failed(&"the window gave no whole picture"))?;
        let mut png = std::io::Cursor::new(Vec::new());
        picture
            .write_to(&mut png, image::ImageFormat::Png)
            .map_err(|e| failed(&e))?;
        files.write(name, &png.into_inner())?;
    }
    files.publish().map(|_| ())
}
