//! What is open, and the talk with the engine's thread: the newest wish out, the newest snapshot in.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::attention::{Attention, Watch};
use crate::checkpoint::Model;
use crate::engine::{self, Probe, Settings, Snapshot, Worker};
use crate::picture::Photo;
use crate::view::Selection;

/// Ids of the mechanisms that the panes in sight look at.
pub type Watched = BTreeSet<&'static str>;

/// The open photograph and model, and the thread that analyses them.
pub struct Session {
    worker: Worker,
    photo: Option<Arc<Photo>>,
    model: Option<Arc<Model>>,
    /// The model without probes.
    plain: Option<Arc<Model>>,
    probes: Vec<Probe>,
    snapshot: Arc<Snapshot>,
    /// What the newest wish was made of.
    sent: Option<(Arc<Photo>, Arc<Model>, Settings)>,
    /// The newest failure that was told.
    told: u64,
}

impl Session {
    /// Nothing is open yet.
    pub fn new(worker: Worker) -> Self {
        Self {
            snapshot: worker.snapshot(),
            worker,
            photo: None,
            model: None,
            plain: None,
            probes: Vec::new(),
            sent: None,
            told: 0,
        }
    }

    /// The open photograph.
    pub fn photo(&self) -> Option<&Arc<Photo>> {
        self.photo.as_ref()
    }

    /// The open model with its probes.
    pub fn model(&self) -> Option<&Arc<Model>> {
        self.model.as_ref()
    }

    /// Puts another photograph in place.
    pub fn set_photo(&mut self, photo: Photo) {
        self.photo = Some(Arc::new(photo));
    }

    /// Puts another model in place.
    pub fn set_model(&mut self, model: Model) {
        let model = Arc::new(model);
        self.plain = Some(model.clone());
        self.model = Some(model);
        self.probes.clear();
    }

    /// Attaches the probes that are set. One that cannot be attached is taken out of the settings;
    /// returns why.
    pub fn follow_probes(&mut self, settings: &mut Settings) -> Option<String> {
        let plain = self.plain.as_ref()?;
        if settings.probes == self.probes {
            return None;
        }
        let mut problem = None;
        let model = engine::attach(plain, &settings.probes).unwrap_or_else(|why| {
            problem = Some(why);
            settings.probes.clear();
            plain.clone()
        });
        self.model = Some(model);
        self.probes.clone_from(&settings.probes);
        problem
    }

    /// Fetches the newest snapshot. Returns the message of a run that failed, once.
    pub fn refresh(&mut self) -> Option<String> {
        self.snapshot = self.worker.snapshot();
        let failure = self.snapshot.failure.as_ref()?;
        (failure.wish > self.told).then(|| {
            self.told = failure.wish;
            failure.message.clone()
        })
    }

    /// The newest snapshot that was fetched.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Number of the newest wish.
    pub fn newest(&self) -> u64 {
        self.worker.newest()
    }

    /// Whether what is shown answers an older wish.
    pub fn is_stale(&self) -> bool {
        self.newest() > self.snapshot.fulfilled && !self.has_failed()
    }

    /// Whether the newest wish failed.
    pub fn has_failed(&self) -> bool {
        let failure = self.snapshot.failure.as_ref();
        failure.is_some_and(|f| f.wish == self.newest())
    }

    /// Sends a wish if anything changed since the last one.
    pub fn wish(
        &mut self,
        settings: &Settings,
        watched: &Watched,
        features: Option<usize>,
        selection: &Selection,
    ) {
        let (Some(photo), Some(model)) = (&self.photo, &self.model) else {
            return;
        };
        let mut settings = settings.clone();
        watch(&mut settings, model, watched, selection);
        settings.features = features;
        let same = self.sent.as_ref().is_some_and(|(p, m, s)| {
            Arc::ptr_eq(p, photo) && Arc::ptr_eq(m, model) && *s == settings
        });
        if !same {
            self.worker
                .wish(photo.clone(), model.clone(), settings.clone());
            self.sent = Some((photo.clone(), model.clone(), settings));
        }
    }
}

/// Rows that no pane in sight looks at are not watched: their traces cost nothing. Of the others
/// the attention of the pressed unit is wanted.
fn watch(settings: &mut Settings, model: &Model, watched: &Watched, selection: &Selection) {
    let of = |(row, attention): (usize, &dyn Attention)| {
        let seen = watched.contains(attention.mechanism().id);
        let unit = selection.units.get(&row).copied();
        seen.then(|| (row, Watch::Focus(unit.into_iter().collect())))
    };
    settings.watch = model.network.attention().filter_map(of).collect();
}
