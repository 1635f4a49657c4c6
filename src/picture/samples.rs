//! Photographs that the program carries, so that it opens on something.

use super::Photo;
use crate::Result;

/// A bundled photograph.
#[derive(Debug)]
pub struct Sample {
    /// Stable name, also in the kept state.
    pub file: &'static str,
    /// Name in the menu.
    pub title: &'static str,
    /// Where it comes from.
    pub credit: &'static str,
    /// The file itself.
    pub bytes: &'static [u8],
}

/// All of them; the first is the one to start with.
pub static SAMPLES: [Sample; 2] = [
    Sample {
        file: "chelsea.png",
        title: "Cat",
        credit: "Chelsea the cat, by Stefan van der Walt (CC0)",
        bytes: include_bytes!("../../assets/samples/chelsea.png"),
    },
    Sample {
        file: "astronaut.png",
        title: "Astronaut",
        credit: "Eileen Collins, NASA (public domain)",
        bytes: include_bytes!("../../assets/samples/astronaut.png"),
    },
];

impl Sample {
    /// The sample of that file name, or the first.
    pub fn named(file: &str) -> &'static Self {
        let found = SAMPLES.iter().find(|s| s.file == file);
        found.unwrap_or(&SAMPLES[0])
    }

    /// Decodes it.
    ///
    /// # Errors
    /// None that a whole program reaches.
    pub fn open(&self) -> Result<Photo> {
        Photo::decode(self.file, None, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_opens_under_its_name() {
        let sizes = [(451, 300), (512, 512), (600, 400)];
        for (sample, size) in SAMPLES.iter().zip(sizes) {
            let photo = Sample::named(sample.file).open().unwrap();
            assert_eq!((photo.width, photo.height), size, "{}", sample.file);
        }
        assert_eq!(Sample::named("gone.png").file, "chelsea.png");
    }
}
