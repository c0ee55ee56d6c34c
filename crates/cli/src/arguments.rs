//! The command line. Each option is defined here once; help and completions come from it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gristmill_core::ByteSize;
use gristmill_pipeline::execute::Backfill;

/// Moves records from where they are to where they are needed, checks every one of them on the
/// way, and accounts for each.
#[derive(Debug, Parser)]
#[command(name = "gristmill", version, propagate_version = true, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 published; 1 failed, nothing published; 2 the command or the pipeline \
file is wrong; 3 stopped by a limit or a check, nothing published; 130 interrupted, nothing published."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) globals: Globals,
}

/// Options that every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// Say nothing but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Write the result to standard output as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log more: -v what is done, -vv how.
    #[arg(long, short, action = clap::ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// The form of log lines.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub(crate) log_format: LogFormat,
    /// Write the log to this file, too; it is kept when it grows beyond --log-file-size.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) log_file: Option<PathBuf>,
    /// Start a new log file at this size; the last five are kept.
    #[arg(long, value_name = "SIZE", default_value = "10MiB", global = true)]
    pub(crate) log_file_size: ByteSize,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline.
    Run(Run),
    /// Say what a run would insert, update, close and reject, and change nothing.
    Plan(Run),
    /// Check a pipeline file and its sources, and run nothing.
    Check(Check),
    /// Run the tests of a pipeline file; no destination is opened.
    Test(Test),
    /// Write a commented pipeline for a data file, with the types that its values have.
    Init(Init),
    /// Convert a file to another format; types are inferred from the whole input.
    Convert(Convert),
    /// Say what is in each column of a file or a table, and suggest rules.
    Profile(Profile),
    /// Judge a file or a table by data quality rules, without a pipeline.
    Quality(Quality),
    /// Compare a file or a table with what was agreed about it.
    Contract(Contract),
    /// Summarise a rejects file, or run mended records through their pipeline again.
    Rejects(Rejects),
    /// List the runs of the pipelines in a folder, or show one.
    Runs(Runs),
    /// List, take back or forget how far sources with a cursor were read.
    Bookmarks(Bookmarks),
    /// Print the JSON schema of pipeline files, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// A pipeline file and its parameters.
#[derive(Debug, Clone, Args)]
pub(crate) struct PipelineFile {
    /// The pipeline file, YAML or JSON.
    #[arg(value_name = "PIPELINE")]
    pub(crate) path: PathBuf,
    /// Give a parameter a value; `${NAME}` in the pipeline file takes it.
    #[arg(long = "param", short, value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) pipeline: PipelineFile,
    #[command(flatten)]
    pub(crate) state: State,
    /// Number of workers, instead of the pipeline's `limits.workers`; the machine's cores where neither says.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
    #[command(flatten)]
    pub(crate) range: Range,
}

/// What is read again of sources that are read incrementally.
#[derive(Debug, Clone, Args)]
pub(crate) struct Range {
    /// Read sources with a cursor from this value on, and leave their bookmarks alone.
    #[arg(long, value_name = "VALUE")]
    pub(crate) from: Option<String>,
    /// Read sources with a cursor up to this value, which is not read any more.
    #[arg(long, value_name = "VALUE")]
    pub(crate) to: Option<String>,
}

impl Range {
    pub(crate) fn backfill(&self) -> Option<Backfill> {
        let Self { from, to } = self.clone();
        (from.is_some() || to.is_some()).then_some(Backfill { from, to })
    }
}

/// Where the ledger is.
#[derive(Debug, Clone, Args)]
pub(crate) struct State {
    /// The folder of the ledger, instead of `.gristmill` beside the pipeline file.
    #[arg(long = "state", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
}

impl From<State> for gristmill_pipeline::execute::State {
    fn from(state: State) -> Self {
        state.folder.map_or(Self::Beside, Self::Folder)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) pipeline: PipelineFile,
    /// Check the file alone; do not open its sources.
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) pipeline: PipelineFile,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The data file to read.
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Where to write the pipeline; standard output when it is not given.
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Write a contract, with types and which columns have a value in every record, in place of types alone.
    #[arg(long)]
    pub(crate) contract: bool,
    /// Write over a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The file to read; `-` is standard input.
    #[arg(value_name = "IN")]
    pub(crate) input: String,
    /// The file to write; `-` is standard output.
    #[arg(value_name = "OUT")]
    pub(crate) output: String,
    /// The format of the input, where its name does not say it.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) from: Option<String>,
    /// The format of the output, where its name does not say it.
    #[arg(long, value_name = "FORMAT")]
    pub(crate) to: Option<String>,
    /// Keep every field of a text format as it is written; infer no types.
    #[arg(long)]
    pub(crate) strings: bool,
    /// Write records that cannot be read to this file, and go on. Without it, one such record ends
    /// the conversion.
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// Number of workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Profile {
    /// The data: a file, or a table as `DATABASE#TABLE`, for example `sqlite://shop.db#orders`. With
    /// several, columns are found whose values are those of a key of another.
    #[arg(value_name = "DATA", required = true)]
    pub(crate) data: Vec<String>,
    /// Write rules that the data satisfies, in place of the profile.
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) suggest: Option<Form>,
    /// Write the different values of a column, as `pivot` takes them, in place of the profile.
    #[arg(long, value_name = "COLUMN", conflicts_with = "suggest")]
    pub(crate) values: Option<String>,
    /// Keep every field of a text format as it is written; infer no types.
    #[arg(long)]
    pub(crate) strings: bool,
    /// Number of workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
}

/// The form of suggested rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// Steps of a pipeline.
    Yaml,
    /// A ruleset in DQDL.
    Dqdl,
    /// A contract: columns, types, and which may be null.
    Contract,
}

#[derive(Debug, Args)]
pub(crate) struct Contract {
    #[command(subcommand)]
    pub(crate) command: ContractCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContractCommand {
    /// Say how data differ from a contract; the exit code is 3 when they break it.
    Diff(ContractDiff),
}

#[derive(Debug, Args)]
pub(crate) struct ContractDiff {
    /// The contract: a file with `columns` and `policy`, one of the Open Data Contract Standard, or a pipeline with one.
    #[arg(value_name = "CONTRACT")]
    pub(crate) contract: PathBuf,
    /// The data: a file, several by a pattern in quotes, or a table as `DATABASE#TABLE`.
    #[arg(value_name = "DATA")]
    pub(crate) data: String,
    /// Of a contract with several entries under `schema`: the name of the one that is meant.
    #[arg(long, value_name = "NAME")]
    pub(crate) schema: Option<String>,
    /// Number of workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct Quality {
    #[command(subcommand)]
    pub(crate) command: QualityCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QualityCommand {
    /// Judge data by rules; the exit code is 3 when a rule fails.
    Check(QualityCheck),
}

#[derive(Debug, Args)]
pub(crate) struct QualityCheck {
    /// The rules: a DQDL file, or a YAML or JSON file with the options of a `check` step.
    #[arg(value_name = "RULES")]
    pub(crate) rules: PathBuf,
    /// The data: a file, or a table as `DATABASE#TABLE`, for example `sqlite://shop.db#orders`.
    #[arg(value_name = "DATA")]
    pub(crate) data: String,
    /// Write the records to this file, each with the rules that it passed, failed and was not asked.
    #[arg(long, value_name = "FILE")]
    pub(crate) rows: Option<String>,
    /// Other data that rules compare with, by the name that they have for it.
    #[arg(long = "reference", value_name = "NAME=DATA")]
    pub(crate) references: Vec<String>,
    /// Keep every field of a text format as it is written; infer no types.
    #[arg(long)]
    pub(crate) strings: bool,
    /// Remember what was measured in the ledger of this folder, for rules that ask about earlier runs.
    #[arg(long = "state", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Number of workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) workers: Option<u16>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Rejects {
    /// The rejects file to summarise.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) file: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<RejectsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RejectsCommand {
    /// Run the records of a rejects file, mended in their `raw` text, through the same steps.
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The rejects file, with its records mended.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The pipeline that rejected them.
    #[arg(long, short = 'P', value_name = "PIPELINE")]
    pub(crate) pipeline: PathBuf,
    /// Give a parameter a value.
    #[arg(long = "param", short, value_name = "NAME=VALUE")]
    pub(crate) params: Vec<String>,
    /// Load into this file instead of the pipeline's destinations.
    #[arg(long, value_name = "FILE")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) state: State,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Runs {
    #[command(subcommand)]
    pub(crate) command: Option<RunsCommand>,
    /// Show only runs of the pipeline with this name.
    #[arg(long, value_name = "NAME")]
    pub(crate) pipeline: Option<String>,
    /// Show this many runs, the newest first.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// The folder of the ledger.
    #[arg(long = "state", value_name = "DIR", default_value = ".gristmill", global = true)]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Bookmarks {
    #[command(subcommand)]
    pub(crate) command: BookmarksCommand,
    /// The folder of the ledger.
    #[arg(long = "state", value_name = "DIR", default_value = ".gristmill", global = true)]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BookmarksCommand {
    /// List them.
    List {
        /// Only those of the pipeline with this name.
        #[arg(long, value_name = "NAME")]
        pipeline: Option<String>,
    },
    /// Take back those of a run and of all later runs of its pipeline: the next run reads again
    /// what they read.
    Rewind {
        /// The run's id, or the beginning of it.
        #[arg(value_name = "RUN")]
        run: String,
    },
    /// Forget those of a pipeline: the next run reads from the start.
    Reset {
        /// The pipeline's name.
        #[arg(value_name = "PIPELINE")]
        pipeline: String,
        /// Only the one with this name.
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Show one run.
    Show {
        /// Its id, or the beginning of it.
        #[arg(value_name = "ID")]
        id: String,
    },
}
