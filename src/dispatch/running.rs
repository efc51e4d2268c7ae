//! What runs at the moment, for a crash report alone.

use crate::command::Args;
use crate::engine::Client;
use crate::sys::window::Window;

/// The client whose input is run.
pub static CLIENT: Window<Client> = Window::new();
/// The arguments of the command whose handler runs.
pub static ARGS: Window<Args<'static>> = Window::new();
