//! What the log says when the server fails: Redis's bug report.
//!
//! It is written for fatal signals (while `crash-log-enabled`) and for panics of the loop's thread. First comes what
//! needs neither memory nor locks: signal, stack traces, registers. Then what a damaged process may fail at: INFO, the
//! clients, the running command. A panic of a helper thread ends its job alone.

use std::fmt::Arguments;
use std::io::Write;
use std::panic::PanicHookInfo;

use super::poll::Shell;
use super::{helper, logging};
use crate::base::quote::quoted;
use crate::command::{Args, Context, info, table};
use crate::config::{Config, REDIS_VERSION};
use crate::dispatch::running;
use crate::engine::Client;
use crate::sys::clock;
use crate::sys::crash::{self, Ending, Fault, Hooks, Out, write_traces};
use crate::sys::window::Window;

/// Bytes shown of an argument.
const ARGUMENT_BYTES_MAX: usize = 128;
/// The signal by which the process ends after a panic.
const SIGABRT: i32 = 6;

/// The loop, while it runs.
static SHELL: Window<Shell> = Window::new();

/// Installs the handlers and the hook of panics.
pub fn install(config: &Config) {
    crash::install(Hooks {
        crash: report_signal,
        alarm: report_alarm,
        alias,
    });
    crash::catch(config.crash_log_enabled);
    std::panic::set_hook(Box::new(report_panic));
}

/// Lets reports see the loop until [`hide`].
pub fn show(shell: &Shell) {
    SHELL.show(shell);
}

/// The loop has ended.
pub fn hide() {
    SHELL.clear();
}

/// The names by which those who know Redis look for functions: `getCommand` for a command's handler,
/// `bioProcessBackgroundJobs` for what a helper thread runs.
fn alias(start: usize) -> Option<(&'static str, &'static str)> {
    if start == helper::process_jobs as *const () as usize {
        return Some(("bioProcessBackgroundJobs", ""));
    }
    let mut rows = table().all().iter();
    let row = rows.find(|row| row.command.handler as *const () as usize == start)?;
    let container = row.parent.map(|parent| table().get(parent).command.name);
    Some((container.unwrap_or(row.command.name), "Command"))
}

/// A fatal signal.
fn report_signal(fault: &Fault, ending: &Ending, out: &mut Out) {
    let shell = SHELL.look(ending);
    let hides = shell
        .as_ref()
        .is_none_or(|shell| shell.config().hide_user_data_from_log);
    begin(out);
    let (signal, code) = (fault.signal, fault.code);
    say(
        out,
        format_args!("Redis {REDIS_VERSION} crashed by signal: {signal}, si_code: {code}"),
    );
    match fault.sender() {
        Some((pid, uid)) => say(out, format_args!("Killed by PID: {pid}, UID: {uid}")),
        None => say(
            out,
            format_args!("Accessing address: {:#x}", fault.address()),
        ),
    }
    if let Some(address) = fault.instruction() {
        say(
            out,
            format_args!("Crashed running the instruction at: {address:#x}"),
        );
    }
    write_traces(out, Some(fault));
    head(out, "REGISTERS");
    for (index, (name, content)) in fault.registers().enumerate() {
        let end = if index % 2 == 0 { ' ' } else { '\n' };
        let _ = write!(out, "{name}:{content:016x}{end}");
    }
    if hides {
        say(
            out,
            format_args!(
                "hide-user-data-from-log is on, skip logging stack content to avoid spilling PII."
            ),
        );
    } else {
        for (address, word) in fault.stack() {
            say(out, format_args!("({address:016x}) -> {word:016x}"));
        }
    }
    if let Some(shell) = shell {
        report_state(shell, ending, out);
    }
    end(out);
}

/// A panic: on the loop's thread it ends the process, on another only what that does.
fn report_panic(panic: &PanicHookInfo<'_>) {
    let (file, line) = panic
        .location()
        .map_or(("?", 0), |at| (at.file(), at.line()));
    let text = panic.payload_as_str().unwrap_or("?");
    let thread = std::thread::current();
    if !crash::is_main_thread() {
        let name = thread.name().unwrap_or("?");
        log::error!("Helper thread `{name}` failed: {text} ({file}:{line})");
        return;
    }
    let ending = Ending::begin(SIGABRT);
    let mut out = Out::open();
    let shell = SHELL.look(&ending);
    let config = shell.as_ref().map(|shell| shell.config());
    let with_code = config.is_some_and(|config| config.use_exit_on_panic);
    let hides = config.is_none_or(|config| config.hide_user_data_from_log);
    begin(&mut out);
    let is_assertion = text.starts_with("assertion");
    if is_assertion {
        if let (Some(client), args) = (running::CLIENT.look(&ending), running::ARGS.look(&ending)) {
            report_context(&mut out, client, args.as_deref(), hides);
        }
        say(&mut out, format_args!("=== ASSERTION FAILED ==="));
        say(
            &mut out,
            format_args!("==> {file}:{line} '{text}' is not true"),
        );
    } else {
        say(
            &mut out,
            format_args!("------------------------------------------------"),
        );
        say(
            &mut out,
            format_args!("!!! Software Failure. Press left mouse button to continue"),
        );
        say(
            &mut out,
            format_args!("Guru Meditation: {text} #{file}:{line}"),
        );
    }
    write_traces(&mut out, None);
    if let Some(shell) = shell.filter(|_| !is_assertion) {
        report_clients(shell, &ending, &mut out);
    }
    end(&mut out);
    drop(out);
    ending.end(with_code)
}

/// SIGALRM: where every thread is. The server goes on.
fn report_alarm(fault: &Fault, out: &mut Out) {
    let mut say = |text: &str| {
        let (pid, seconds) = (std::process::id(), clock::unix_ms() / 1000);
        let _ = writeln!(out, "{pid}:signal-handler ({seconds}) {text}");
    };
    say("");
    let _ = match fault.sender() {
        Some(_) => writeln!(out, "Received SIGALRM"),
        None => writeln!(out, "--- WATCHDOG TIMER EXPIRED ---"),
    };
    write_traces(out, Some(fault));
    let _ = writeln!(out);
}

fn begin(out: &mut Out) {
    let _ = writeln!(
        out,
        "\n\n=== REDIS BUG REPORT START: Cut & paste starting from here ==="
    );
}

fn end(out: &mut Out) {
    let _ = writeln!(
        out,
        "\n=== REDIS BUG REPORT END. Make sure to include from START to END. ===\n\n       \
         Please report the crash to those who develop redoxide {}.\n",
        env!("CARGO_PKG_VERSION")
    );
    let _ = out.flush();
}

fn head(out: &mut Out, title: &str) {
    let _ = writeln!(out, "\n------ {title} ------");
    // What follows may not come to its end.
    let _ = out.flush();
}

/// What needs memory and the loop's state.
fn report_state(shell: &mut Shell, ending: &Ending, out: &mut Out) {
    head(out, "INFO OUTPUT");
    let (machine, host) = shell.parts();
    let engine = &mut machine.engine;
    let mut client = Client::new(0, usize::MAX, engine.now());
    if let Some(command) = table().find(b"info") {
        let mut context = Context {
            engine,
            client: &mut client,
            host,
            command,
        };
        let text = info::everything(&mut context);
        let _ = out.write_all(text.replace('\r', "").as_bytes());
    }
    report_clients(shell, ending, out);
}

fn report_clients(shell: &mut Shell, ending: &Ending, out: &mut Out) {
    let hides = shell.config().hide_user_data_from_log;
    let engine = &shell.parts().0.engine;
    let running = running::CLIENT.look(ending);
    let line = |client: &Client, out: &mut Out| {
        let mut line = Vec::new();
        engine.describe(client, None, &mut line);
        line.push(b'\n');
        let _ = out.write_all(&line);
    };
    head(out, "CLIENT LIST OUTPUT");
    for client in engine.clients.iter().chain(running.as_deref()) {
        line(client, out);
    }
    let Some(client) = running else { return };
    head(out, "CURRENT CLIENT INFO");
    line(client, out);
    let Some(args) = running::ARGS.look(ending) else {
        return;
    };
    let _ = writeln!(out, "argc: '{}'", args.count());
    for (index, argument) in args.iter().enumerate() {
        let _ = writeln!(out, "argv[{index}]: '{}'", shown(index, argument, hides));
    }
}

/// Whose command an assertion failed in.
fn report_context(out: &mut Out, client: &Client, args: Option<&Args<'_>>, hides: bool) {
    say(out, format_args!("=== ASSERTION FAILED CLIENT CONTEXT ==="));
    say(out, format_args!("client->flags = {}", client.flags.bits()));
    say(out, format_args!("client->conn = fd={}", client.fd));
    let Some(args) = args else { return };
    say(out, format_args!("client->argc = {}", args.count()));
    for (index, argument) in args.iter().enumerate() {
        let shown = shown(index, argument, hides);
        say(out, format_args!("client->argv[{index}] = {shown}"));
    }
}

/// The beginning of an argument; the command's name is no secret.
fn shown(index: usize, argument: &[u8], hides: bool) -> String {
    match argument.get(..ARGUMENT_BYTES_MAX).unwrap_or(argument) {
        _ if hides && index > 0 => "*redacted*".to_owned(),
        beginning => quoted(beginning),
    }
}

/// A line of the log.
fn say(out: &mut Out, text: Arguments<'_>) {
    let _ = logging::write_line(out, log::Level::Error, &text);
}
