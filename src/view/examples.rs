//! Views that the program carries.

use std::path::Path;

use super::ViewFile;

/// A bundled view.
#[derive(Debug)]
pub struct Example {
    /// A few words, on the button that opens it.
    pub title: &'static str,
    /// What it shows, in a sentence.
    pub about: &'static str,
    /// The view file.
    pub text: &'static str,
}

/// All of them.
pub static EXAMPLES: [Example; 2] = [
    Example {
        title: "Which pixels belong together",
        about: "The super token at the cat's eye, and the pixels that it takes in.",
        text: include_str!("../../assets/views/super-token.json"),
    },
    Example {
        title: "Where a region reads from",
        about: "The regions that the astronaut's face reads from, and with what weight.",
        text: include_str!("../../assets/views/routing.json"),
    },
];

impl Example {
    /// The view.
    ///
    /// # Errors
    /// None that a whole program reaches; a test opens each.
    pub fn view(&self) -> Result<ViewFile, String> {
        ViewFile::parse(self.text, Path::new(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Model;

    #[test]
    fn every_example_fits_the_picture_and_the_weights_that_come_with_the_program() {
        for example in &EXAMPLES {
            let file = example.view().unwrap();
            let photo = file.picture.place.open().unwrap();
            let origin = file.model.place.origin().unwrap();
            let model: Model = origin.open(&candle_core::Device::Cpu).unwrap();
            let none: [String; 0] = [];
            assert_eq!(file.changes(&photo, &model), none, "{}", example.title);
        }
    }
}
