//! `awsiam`: the operator and its command line in one program. Hands over to the verb, and nothing else.

mod arguments;
mod ask;
mod checks;
mod connection;
mod current;
mod error;
mod files;
mod finding;
mod images;
mod management;
mod manifests;
mod object;
mod paint;
mod place;
mod planned;
mod privileges;
mod schema;
mod selection;
mod survey;
mod table;
mod target;
mod verb;
mod whole;

use std::process::ExitCode;

fn main() -> ExitCode {
    arguments::run()
}
