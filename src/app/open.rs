//! Opening: every file, dialog and picture from the clipboard is handled on a short-lived thread,
//! so that the window goes on. Of several openings the newest wins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use candle_core::Device;

use super::dialog::{Answer, Dialog, Question};
use super::source;
use crate::checkpoint::{Bundled, Model, Origin};
use crate::picture::Photo;
use crate::picture::samples::Sample;
use crate::view::{Example, PhotoSource, ViewFile};
use crate::{Error, Result};

/// Places in [`Opener::arrived`].
const PHOTO: usize = 0;
const MODEL: usize = 1;

/// Something to open.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A picture or a model, by what lies there.
    Path(PathBuf),
    /// A model that the program carries.
    Bundled(&'static Bundled),
    /// A photograph that the program carries.
    Sample(&'static Sample),
    /// Pixels from the clipboard.
    Pixels(std::sync::Arc<egui::ColorImage>),
    /// A view that the program carries.
    Example(&'static Example),
}

/// Something that was opened.
#[derive(Debug)]
pub enum Opened {
    /// A photograph, and how to find it again.
    Photo(Box<Photo>, Option<PhotoSource>),
    /// A model.
    Model(Box<Model>),
    /// A view with its photograph and model.
    View(Box<ViewFile>, Box<Photo>, Box<Model>),
}

/// What a thread found out.
#[derive(Debug)]
pub enum News {
    /// An opening came to its end.
    Opened(Result<Opened>),
    /// The first model and photograph of the program, and what could not be opened of what was
    /// asked for. One that a newer opening has overtaken is left out.
    Started {
        /// The model.
        model: Option<Result<Box<Model>>>,
        /// The photograph.
        photo: Option<Result<(Box<Photo>, PhotoSource)>>,
        /// What the bundled ones stand in for, and why.
        problems: Vec<Error>,
    },
    /// A dialog gave a path.
    Picked(PathBuf),
    /// A dialog gave a path to write to.
    Place(PathBuf),
    /// A file was written, or why not.
    Saved(Result<PathBuf>),
    /// A figure for the clipboard, or why there is none.
    Figure(std::result::Result<std::sync::Arc<egui::ColorImage>, String>),
    /// There is no dialog on this machine.
    NoDialog,
    /// Those of the paths that are not there.
    Missing(BTreeSet<PathBuf>),
}

struct Letter {
    ticket: Option<u64>,
    news: News,
}

/// Starts openings and collects what became of them.
pub struct Opener {
    device: Device,
    ctx: egui::Context,
    sender: Sender<Letter>,
    receiver: Receiver<Letter>,
    tickets: u64,
    /// Openings under way, by ticket.
    pending: Vec<(u64, String)>,
    /// The newest photograph and model that have arrived.
    arrived: [u64; 2],
}

impl Opener {
    /// An opener that wakes the window when there is news. Models are put on `device`.
    pub fn new(device: Device, ctx: egui::Context) -> Self {
        let (sender, receiver) = channel();
        Self {
            device,
            ctx,
            sender,
            receiver,
            tickets: 0,
            pending: Vec::new(),
            arrived: [0; 2],
        }
    }

    /// What is being opened, newest last.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.pending.iter().map(|(_, name)| name.as_str())
    }

    /// Opens the first model and photograph; the bundled ones where that fails.
    pub fn start(&mut self, model: Option<Origin>, photo: PhotoSource) {
        let device = self.device.clone();
        self.spawn(Some("the first picture".into()), move || {
            let mut problems = Vec::new();
            let model = model.and_then(|origin| {
                let opened = origin.open(&device);
                opened.map_err(|e| problems.push(e)).ok()
            });
            let model = model.map_or_else(|| Model::bundled(&device), Ok);
            let photo = first_photo(photo, &mut problems);
            Some(News::Started {
                model: Some(model.map(Box::new)),
                photo: Some(photo),
                problems,
            })
        });
    }

    /// Opens something. What is open stays until that has succeeded.
    pub fn open(&mut self, wanted: Wanted) {
        let device = self.device.clone();
        let name = wanted.name();
        self.spawn(Some(name), move || Some(News::Opened(wanted.open(&device))));
    }

    /// Asks with a dialog of the system.
    pub fn ask(&mut self, dialog: Dialog) {
        let question = Question::new(dialog);
        self.spawn(None, move || match question.answer() {
            Answer::Path(path) if dialog == Dialog::Save => Some(News::Place(path)),
            Answer::Path(path) => Some(News::Picked(path)),
            Answer::Nothing => None,
            Answer::NoDialog => Some(News::NoDialog),
        });
    }

    /// Does something that takes a while, shown by its name until its news are there.
    pub fn work(&mut self, name: &str, job: impl FnOnce() -> News + Send + 'static) {
        self.spawn(Some(name.to_owned()), move || Some(job()));
    }

    /// Finds out which of the paths are not there.
    pub fn check(&mut self, paths: &[PathBuf]) {
        let paths = paths.to_vec();
        self.spawn(None, move || {
            let missing = paths.into_iter().filter(|p| !p.exists());
            Some(News::Missing(missing.collect()))
        });
    }

    /// What has arrived since the last call. Openings that a newer one has overtaken are left out.
    pub fn news(&mut self) -> Vec<News> {
        let letters: Vec<Letter> = self.receiver.try_iter().collect();
        letters.into_iter().filter_map(|l| self.accept(l)).collect()
    }

    fn accept(&mut self, letter: Letter) -> Option<News> {
        let Some(ticket) = letter.ticket else {
            return Some(letter.news);
        };
        self.pending.retain(|(t, _)| *t != ticket);
        let mut is_newest = |kind: usize| {
            let newest = self.arrived[kind] < ticket;
            self.arrived[kind] = self.arrived[kind].max(ticket);
            newest
        };
        match letter.news {
            News::Opened(Ok(Opened::Photo(..))) if !is_newest(PHOTO) => None,
            News::Opened(Ok(Opened::Model(_))) if !is_newest(MODEL) => None,
            News::Opened(Ok(Opened::View(..))) if !(is_newest(PHOTO) && is_newest(MODEL)) => None,
            News::Started {
                model,
                photo,
                problems,
            } => Some(News::Started {
                model: model.filter(|_| is_newest(MODEL)),
                photo: photo.filter(|_| is_newest(PHOTO)),
                problems,
            }),
            news => Some(news),
        }
    }

    /// Runs a job on a thread; one with a name counts as an opening.
    fn spawn(&mut self, name: Option<String>, job: impl FnOnce() -> Option<News> + Send + 'static) {
        let ticket = name.map(|name| {
            self.tickets += 1;
            self.pending.push((self.tickets, name));
            self.tickets
        });
        let (sender, ctx) = (self.sender.clone(), self.ctx.clone());
        let thread = std::thread::Builder::new().name("open".into());
        let started = thread.spawn(move || {
            if let Some(news) = job() {
                // Without a receiver the window is gone, and so is the interest.
                let _ = sender.send(Letter { ticket, news });
            }
            ctx.request_repaint();
        });
        if let Err(error) = started {
            let problem = format!("no thread could be started ({error})");
            let news = News::Opened(Err(Error::Setting(problem)));
            let _ = self.sender.send(Letter { ticket, news });
        }
    }
}

impl Wanted {
    fn name(&self) -> String {
        let of = |path: &Path| match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => path.display().to_string(),
        };
        match self {
            Self::Path(path) => of(path),
            Self::Bundled(model) => model.id.into(),
            Self::Sample(sample) => sample.file.into(),
            Self::Pixels(_) => "the picture from the clipboard".into(),
            Self::Example(example) => example.title.into(),
        }
    }

    fn open(self, device: &Device) -> Result<Opened> {
        match self {
            Self::Path(path) if ViewFile::is_one(&path) => {
                let file = ViewFile::read(&path)?;
                open_view(file, device)
            }
            Self::Path(path) if !source::is_model(&path) => open_photo(&path),
            Self::Path(path) => Ok(Opened::Model(Box::new(Model::open(&path, device)?))),
            Self::Bundled(model) => {
                let model = Origin::Bundled(model).open(device)?;
                Ok(Opened::Model(Box::new(model)))
            }
            Self::Example(example) => open_view(example.view().map_err(Error::Setting)?, device),
            Self::Sample(sample) => {
                let source = PhotoSource::Sample(sample.file.to_owned());
                Ok(Opened::Photo(Box::new(sample.open()?), Some(source)))
            }
            Self::Pixels(image) => {
                let [width, height] = image.size;
                let rgba: Vec<u8> = image
                    .pixels
                    .iter()
                    .flat_map(|p| p.to_srgba_unmultiplied())
                    .collect();
                let photo = Photo::from_rgba("clipboard", width, height, &rgba)?;
                Ok(Opened::Photo(Box::new(photo), None))
            }
        }
    }
}

fn open_photo(path: &Path) -> Result<Opened> {
    let photo = Photo::open(path)?;
    Ok(Opened::Photo(
        Box::new(photo),
        Some(PhotoSource::File(path.to_owned())),
    ))
}

fn open_view(file: ViewFile, device: &Device) -> Result<Opened> {
    let photo = file.picture.place.open()?;
    let origin = file.model.place.origin().map_err(Error::Setting)?;
    let model = origin.open(device)?;
    Ok(Opened::View(
        Box::new(file),
        Box::new(photo),
        Box::new(model),
    ))
}

fn first_photo(
    wanted: PhotoSource,
    problems: &mut Vec<Error>,
) -> Result<(Box<Photo>, PhotoSource)> {
    let sample = match &wanted {
        PhotoSource::File(_) => match wanted.open() {
            Ok(photo) => return Ok((Box::new(photo), wanted)),
            Err(error) => {
                problems.push(error);
                Sample::named("")
            }
        },
        PhotoSource::Sample(file) => Sample::named(file),
    };
    let photo = sample.open()?;
    Ok((Box::new(photo), PhotoSource::Sample(sample.file.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn opener() -> Opener {
        Opener::new(Device::Cpu, egui::Context::default())
    }

    fn photo(file: &str) -> News {
        let sample = Sample::named(file);
        News::Opened(Wanted::Sample(sample).open(&Device::Cpu))
    }

    fn name(news: &News) -> &str {
        match news {
            News::Opened(Ok(Opened::Photo(photo, _))) => &photo.name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_older_opening_that_ends_later_is_left_out() {
        let mut opener = opener();
        for (ticket, file) in [(2, "astronaut.png"), (1, "chelsea.png")] {
            let letter = Letter {
                ticket: Some(ticket),
                news: photo(file),
            };
            opener.sender.send(letter).unwrap();
        }
        let news = opener.news();
        assert_eq!(news.iter().map(name).collect::<Vec<_>>(), ["astronaut.png"]);
    }

    #[test]
    fn a_picture_opened_while_the_program_starts_stays_and_the_model_still_comes() {
        let mut opener = opener();
        opener.start(None, PhotoSource::default());
        let started = opener
            .receiver
            .recv_timeout(Duration::from_secs(60))
            .unwrap();
        let newer = Letter {
            ticket: Some(2),
            news: photo("astronaut.png"),
        };
        assert!(opener.accept(newer).is_some());
        match opener.accept(started) {
            Some(News::Started { model, photo, .. }) => {
                assert!(model.is_some());
                assert!(photo.is_none());
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_vanished_gives_way_to_the_bundled_ones_with_the_reasons() {
        let mut opener = opener();
        let gone = PathBuf::from("/no/such/thing");
        opener.start(Some(Origin::Folder(gone.clone())), PhotoSource::File(gone));
        let letter = opener
            .receiver
            .recv_timeout(Duration::from_secs(60))
            .unwrap();
        match opener.accept(letter) {
            Some(News::Started {
                model,
                photo,
                problems,
            }) => {
                let model = model.unwrap().unwrap();
                assert!(matches!(model.origin, Origin::Bundled(_)));
                assert_eq!(photo.unwrap().unwrap().1, PhotoSource::default());
                assert_eq!(problems.len(), 2);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(opener.pending().count(), 0);
    }
}
