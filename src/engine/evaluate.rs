//! How good a model is on labelled pictures: every picture through the engine, without traces.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Engine, STORE_BYTES, Settings, Wish};
use crate::checkpoint::Model;
use crate::dataset::{DataSet, Labelled, Matching, Source, archive};
use crate::measure::{AveragePrecision, Scores, Truth};
use crate::picture::Photo;
use crate::picture::photo::MAX_FILE_BYTES;
use crate::yolo::{Head, Thresholds};
use crate::{Error, Result};

/// Thresholds of an evaluation: nearly everything is let through, so that the ranks decide.
pub const EVALUATED: Thresholds = Thresholds {
    confidence: 0.001,
    iou: 0.7,
};

/// Pictures that are opened ahead of the network.
const AHEAD: usize = 4;

/// What is evaluated.
pub struct Examination<'a> {
    /// The model.
    pub model: &'a Arc<Model>,
    /// Knobs and input size. Its head, thresholds and watches are not used.
    pub settings: &'a Settings,
    /// The heads to read, each picture through all of them.
    pub heads: &'a [Head],
    /// The pictures.
    pub data: &'a DataSet,
    /// Which class is which.
    pub classes: &'a Matching,
}

/// What an evaluation found.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// By head, in the order they were asked for.
    pub heads: Vec<(Head, Scores)>,
    /// From the first picture to the last, opening them included.
    pub took: Duration,
    /// For each picture, from the opened picture to its detections (of all heads).
    pub each: Vec<Duration>,
}

impl Examination<'_> {
    /// Evaluates. `progress` is told how many pictures are done and stops it with `false`.
    ///
    /// # Errors
    /// The first picture that cannot be opened or is not the labelled one; [`Error::Cancelled`] if
    /// `progress` stopped it.
    pub fn run(&self, progress: &mut dyn FnMut(usize) -> bool) -> Result<Evaluation> {
        let start = Instant::now();
        let classes = self.model.classes.len();
        let mut tallies = vec![AveragePrecision::new(classes); self.heads.len()];
        let mut each = Vec::with_capacity(self.data.pictures.len());
        // One head after the other on one picture shares all layers in front of them.
        let budget = if self.heads.len() > 1 { STORE_BYTES } else { 0 };
        let mut engine = Engine::new(budget);
        std::thread::scope(|scope| {
            let (send, opened) = mpsc::sync_channel(AHEAD);
            let pictures = &self.data.pictures;
            scope.spawn(move || {
                let mut photos = pictures.iter().map(|p| open(&p.picture));
                photos.all(|photo| send.send(photo).is_ok())
            });
            for (done, (labelled, photo)) in pictures.iter().zip(opened).enumerate() {
                if !progress(done) {
                    return Err(Error::Cancelled);
                }
                let photo = Arc::new(photo?);
                let truths = self.truths(labelled, [photo.width, photo.height])?;
                let scored = self.classes.labelled(labelled);
                let began = Instant::now();
                for (head, tally) in self.heads.iter().zip(&mut tallies) {
                    let outcome = engine.run(&self.wish(&photo, *head), &mut ())?;
                    tally.add(&truths, &scored, &outcome.detected.list);
                }
                each.push(began.elapsed());
                engine.forget();
            }
            Ok(())
        })?;
        progress(self.data.pictures.len());
        let scores = tallies.iter().map(AveragePrecision::scores);
        Ok(Evaluation {
            heads: self.heads.iter().copied().zip(scores).collect(),
            took: start.elapsed(),
            each,
        })
    }

    fn wish(&self, photo: &Arc<Photo>, head: Head) -> Wish {
        Wish {
            number: 1,
            photo: photo.clone(),
            model: self.model.clone(),
            settings: Settings {
                head: Some(head),
                thresholds: EVALUATED,
                watch: Default::default(),
                ..self.settings.clone()
            },
        }
    }

    /// What is there on a picture, in the classes of the model; others are left out.
    fn truths(&self, labelled: &Labelled, size: [usize; 2]) -> Result<Vec<Truth>> {
        let boxes = labelled.in_pixels(size)?.into_iter();
        let known = boxes.filter_map(|a| {
            let class = self.classes.of_model(a.class)?;
            Some(Truth {
                rect: a.rect,
                class,
                crowd: a.crowd,
            })
        });
        Ok(known.collect())
    }
}

fn open(source: &Source) -> Result<Photo> {
    match source {
        Source::File(path) => Photo::open(path),
        Source::Part {
            archive,
            at,
            length,
            ..
        } => {
            let name = source.show();
            let bytes = match *length <= MAX_FILE_BYTES {
                true => archive::read(archive, *at, *length),
                false => Err(std::io::ErrorKind::FileTooLarge.into()),
            };
            let bytes = bytes.map_err(|e| {
                Error::file(&name, format!("it cannot be read ({e})"), "a whole picture")
            })?;
            Photo::decode(&name, None, &bytes)
        }
    }
}
