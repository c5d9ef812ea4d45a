//! One control plane for all tests of a test program.

use std::sync::OnceLock;

use tokio::sync::OnceCell;

use super::{ControlPlane, ControlPlaneError};

/// A control plane that all tests of this test program share, started by the first that asks: keep to a namespace of
/// your own, or to objects that nobody else touches. It ends with the process; a static is never dropped, but nothing
/// here relies on that. When a test panics, the folder with the logs stays.
///
/// # Panics
///
/// When it can't be started: no test that asks for it can go on.
#[expect(clippy::panic, reason = "only tests call this, and their answer to an error would be this panic")]
pub async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<Result<ControlPlane, ControlPlaneError>> = OnceCell::const_new();
    match SHARED.get_or_init(ControlPlane::start).await {
        Ok(control_plane) => {
            keep_folder_after_panic(control_plane);
            control_plane
        }
        Err(error) => panic!("no control plane for this test program: {error}"),
    }
}

/// Has any panic of this process keep the folder: the drop that would do so never comes.
fn keep_folder_after_panic(control_plane: &'static ControlPlane) {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            previous(panic);
            control_plane.folder.keep();
            eprintln!("the control plane's logs are kept in {}", control_plane.folder().display());
        }));
    });
}
