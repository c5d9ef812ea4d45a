//! `awsiam`: the operator and its command line in one program. Hands over to the verb, and nothing else.

mod arguments;
mod checks;
mod connection;
mod current;
mod error;
mod files;
mod finding;
mod images;
mod manifests;
mod object;
mod paint;
mod place;
mod planned;
mod privileges;
mod schema;
mod selection;
mod verb;
mod whole;

use std::process::ExitCode;

fn main() -> ExitCode {
    arguments::run()
}
