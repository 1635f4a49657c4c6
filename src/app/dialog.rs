//! Dialogs of the system that ask for a file or a folder.

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A dialog that ends sooner was never seen by anyone.
const UNSEEN: Duration = Duration::from_millis(400);

/// What a dialog asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialog {
    /// A picture file.
    Picture,
    /// A model folder.
    Model,
    /// A checkpoint, weights or a definition.
    Checkpoint,
    /// A place for a file to be written.
    Save,
}

/// What became of a question.
#[derive(Debug)]
pub enum Answer {
    /// Something was chosen.
    Path(PathBuf),
    /// The dialog was closed.
    Nothing,
    /// There was no dialog: on Linux it needs a desktop portal.
    NoDialog,
}

/// A dialog on its way. Some systems make dialogs on the main thread only: it is made there and
/// answered on another thread.
pub struct Question {
    file: Pin<Box<dyn Future<Output = Option<rfd::FileHandle>> + Send>>,
    asked: Instant,
}

impl Question {
    /// Makes the dialog.
    pub fn new(dialog: Dialog) -> Self {
        let kinds = ["png", "jpg", "jpeg", "bmp", "gif", "webp", "tif", "tiff"];
        let asked = Instant::now();
        match dialog {
            Dialog::Picture => Self {
                asked,
                file: Box::pin(
                    rfd::AsyncFileDialog::new()
                        .set_title("Open a picture")
                        .add_filter("Pictures", &kinds)
                        .add_filter("All files", &["*"])
                        .pick_file(),
                ),
            },
            Dialog::Model => Self {
                asked,
                file: Box::pin(
                    rfd::AsyncFileDialog::new()
                        .set_title("Open a model folder")
                        .pick_folder(),
                ),
            },
            Dialog::Save => Self {
                asked,
                file: Box::pin(
                    rfd::AsyncFileDialog::new()
                        .set_title("Export to a file")
                        .save_file(),
                ),
            },
            Dialog::Checkpoint => Self {
                asked,
                file: Box::pin(
                    rfd::AsyncFileDialog::new()
                        .set_title("Open a checkpoint")
                        .add_filter("Models", &["pt", "pth", "safetensors", "yaml", "yml"])
                        .add_filter("All files", &["*"])
                        .pick_file(),
                ),
            },
        }
    }

    /// Waits for the answer.
    pub fn answer(self) -> Answer {
        match block_on(self.file) {
            Some(file) => Answer::Path(file.path().to_owned()),
            None if self.asked.elapsed() < UNSEEN => Answer::NoDialog,
            None => Answer::Nothing,
        }
    }
}

/// Waits for a future on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    let mut cx = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_future_of_another_thread_ends() {
        struct Later(std::sync::Arc<std::sync::Mutex<(bool, Option<std::task::Waker>)>>);
        impl Future for Later {
            type Output = u8;
            fn poll(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<u8> {
                let mut state = self.0.lock().unwrap();
                state.1 = Some(cx.waker().clone());
                if state.0 {
                    std::task::Poll::Ready(7)
                } else {
                    std::task::Poll::Pending
                }
            }
        }
        let state = std::sync::Arc::default();
        let theirs = Later(std::sync::Arc::clone(&state));
        let thread = std::thread::spawn(move || block_on(theirs));
        std::thread::sleep(Duration::from_millis(20));
        let mut held = state.lock().unwrap();
        held.0 = true;
        if let Some(waker) = held.1.take() {
            waker.wake();
        }
        drop(held);
        assert_eq!(thread.join().unwrap(), 7);
    }
}
