//! A source that is held to its contract.
//!
//! Sources of text are asked, by their read plan, to parse the types of the contract, so that a value is
//! judged where it becomes one; those of sources with types are cast. What a leading step leaves out of the
//! plan is read all the same where the contract has something to say about it, and left out here.

use std::collections::HashSet;
use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use gristmill_core::text::ColumnPlan;
use gristmill_core::types::type_name;
use gristmill_core::{
    BindContext, Chunk, Error, ErrorKind, ExpressionCompiler, Extractor, FieldType, ReadPlan,
    Result, StepPlan,
};
use gristmill_extract::file::find_column;
use gristmill_transform::{Cast, CastTo};
use serde_json::Value;

use super::judge::{Absent, Judge, Judged};
use super::{Agreed, Agreement, Way};

/// A source whose batches are what a contract says.
pub(crate) struct Contracted {
    inner: Box<dyn Extractor>,
    agreement: Arc<Agreement>,
    expressions: Arc<dyn ExpressionCompiler>,
    /// What the source is called in messages.
    name: String,
    /// Of sources of text: the columns of the plan that the contract has, as they were before any step.
    agreed: Vec<(Agreed, ColumnPlan)>,
    /// New columns that are read to be judged.
    fresh: Vec<ColumnPlan>,
    /// Columns that records lack, for those of each file or of all.
    absent: Absent,
    notes: Vec<String>,
    /// Of a source with types: what is known of it, and how many notes came before it was judged.
    typed: Option<(Typed, usize)>,
    judge: Option<Arc<Judge>>,
}

impl Contracted {
    pub(crate) fn new(
        inner: Box<dyn Extractor>,
        agreement: Arc<Agreement>,
        name: String,
        expressions: Arc<dyn ExpressionCompiler>,
    ) -> Self {
        Self {
            inner,
            agreement,
            expressions,
            name,
            agreed: Vec::new(),
            fresh: Vec::new(),
            absent: Absent::default(),
            notes: Vec::new(),
            typed: None,
            judge: None,
        }
    }

    /// Where each agreed column is among those of the source, and which of the source's are new. What the
    /// policy does not let pass is the error.
    fn compare(&mut self, names: &[String]) -> Result<Compared> {
        let policy = Arc::clone(&self.agreement);
        let found: Vec<_> =
            policy.columns.iter().map(|agreed| find_column(names, &agreed.name)).collect();
        let known: HashSet<usize> = found.iter().flatten().copied().collect();
        let mut wrong = Vec::new();
        // Files without any column say nothing about those they should have.
        let is_empty = self.inner.empty().is_some();
        let missing = policy.columns.iter().zip(&found).filter(|(_, at)| at.is_none() && !is_empty);
        let missing: Vec<String> = missing.map(|(agreed, _)| agreed.name.clone()).collect();
        if !missing.is_empty() {
            let said = columns(&missing);
            match policy.missing_column {
                Way::Freeze => wrong.push(format!("`{}` has no {said}", self.name)),
                Way::Evolve => self.notes.push(format!("there is no {said}: left out")),
                Way::NullValue => self.notes.push(format!("there is no {said}: null")),
                Way::QuarantineRecord => self.absent.everywhere = missing,
            }
        }
        for (file, lacks) in self.inner.gaps() {
            let agreed = policy.columns.iter().zip(&found);
            let lacks = agreed.filter(|(_, at)| at.is_some_and(|at| lacks.contains(&names[at])));
            let lacks: Vec<String> = lacks.map(|(agreed, _)| agreed.name.clone()).collect();
            if lacks.is_empty() {
                continue;
            }
            if policy.missing_column == Way::Freeze {
                wrong.push(format!("`{file}` has no {}", columns(&lacks)));
            }
            self.absent.files.insert(file, lacks);
        }
        self.absent.rejects = policy.missing_column == Way::QuarantineRecord;
        let new: Vec<usize> = (0..names.len()).filter(|at| !known.contains(at)).collect();
        let fresh: Vec<String> = new.iter().map(|at| names[*at].clone()).collect();
        if !fresh.is_empty() {
            let said = columns(&fresh);
            match policy.new_column {
                Way::Freeze => wrong.push(format!("`{}` has the new {said}", self.name)),
                Way::Evolve => self.notes.push(format!("not in the contract: {said}")),
                Way::NullValue => self.notes.push(format!("not in the contract: {said}, left out")),
                Way::QuarantineRecord => {}
            }
        }
        if wrong.is_empty() {
            return Ok(Compared { found, new });
        }
        let message = format!("the contract is broken: {}", wrong.join("; "));
        Err(Error::new(ErrorKind::Stopped, message).hint(format!(
            "its columns are {}; `policy:` can let new and missing columns pass",
            shown(policy.columns.iter().map(|agreed| agreed.name.as_str()))
        )))
    }

    /// Whether a column that is missing is read as null.
    fn stands_in(&self) -> bool {
        self.inner.empty().is_some()
            || matches!(self.agreement.missing_column, Way::NullValue | Way::QuarantineRecord)
    }

    /// A source of text: the plan, and after it what is read to be judged only.
    fn begin_text(&mut self, mut plan: ReadPlan) -> Result<SchemaRef> {
        let shown = plan.columns.len();
        let mut judge = Judge::new(&self.agreement, std::mem::take(&mut self.absent));
        let mut cast = Vec::new();
        for (agreed, column) in std::mem::take(&mut self.agreed) {
            let at = plan.columns.iter().position(|other| other.source == column.source);
            let at = match at {
                Some(at) => at,
                None if agreed.column.nullable => continue,
                None => {
                    plan.columns.push(column);
                    plan.columns.len() - 1
                }
            };
            if self.agreement.field_type == Way::Evolve && !plan.columns[at].declared {
                cast.extend(agreed.field_type().map(|to| (at, agreed.clone(), to)));
            }
            judge.hold(&agreed, at);
        }
        for column in std::mem::take(&mut self.fresh) {
            judge.fresh.push((plan.columns.len(), column.name.clone()));
            plan.columns.push(column);
        }
        for at in shown..plan.columns.len() {
            let taken = |name: &str| plan.columns[..at].iter().any(|other| other.name == name);
            let mut name = plan.columns[at].name.clone();
            while taken(&name) {
                name.push('\'');
            }
            plan.columns[at].name = name;
        }
        let schema = self.inner.begin(Some(plan))?;
        judge.picks = (0..shown).map(|at| (Some(at), Arc::clone(&schema.fields()[at]))).collect();
        self.complete(judge, schema, cast)
    }

    /// A source whose columns have types.
    fn begin_typed(&mut self) -> Result<SchemaRef> {
        let schema = self.inner.begin(None)?;
        let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let Compared { found, new } = self.compare(&names)?;
        let agreement = Arc::clone(&self.agreement);
        let absent = std::mem::take(&mut self.absent);
        let mut typed = Typed { schema: Arc::clone(&schema), absent, ..Typed::default() };
        for (at, field) in schema.fields().iter().enumerate() {
            let is_new = new.contains(&at);
            if is_new && agreement.new_column == Way::QuarantineRecord {
                typed.fresh.push((at, field.name().clone()));
            }
            if !is_new || agreement.new_column == Way::Evolve {
                typed.picks.push((Some(at), Arc::clone(field)));
            }
        }
        for (agreed, at) in agreement.columns.iter().zip(found) {
            match at {
                Some(at) => {
                    let to = agreed.field_type();
                    let to = to.filter(|to| FieldType::of(schema.field(at)) != Some(*to));
                    typed.held.push((at, agreed.clone(), to));
                }
                None if self.stands_in() => {
                    let field_type = agreed.field_type().unwrap_or(FieldType::String);
                    typed.picks.push((None, Arc::new(field_type.field(&agreed.name))));
                }
                None => {}
            }
        }
        let notes = self.notes.len();
        let output = self.judge_typed(&typed)?;
        self.typed = Some((typed, notes));
        Ok(output)
    }

    fn judge_typed(&mut self, typed: &Typed) -> Result<SchemaRef> {
        let mut judge = Judge::new(&self.agreement, typed.absent.clone());
        judge.picks.clone_from(&typed.picks);
        judge.fresh.clone_from(&typed.fresh);
        let mut cast = Vec::new();
        for (at, agreed, to) in &typed.held {
            judge.hold(agreed, *at);
            cast.extend(to.map(|to| (*at, agreed.clone(), to)));
        }
        self.complete(judge, Arc::clone(&typed.schema), cast)
    }

    /// Adds the casts that the contract asks for, and says what comes out.
    fn complete(
        &mut self,
        mut judge: Judge,
        mut schema: SchemaRef,
        wanted: Vec<(usize, Agreed, FieldType)>,
    ) -> Result<SchemaRef> {
        let mut cast = Cast::new();
        let mut casts = false;
        for (at, agreed, to) in wanted {
            let field = schema.field(at);
            let own = FieldType::of(field);
            if own == Some(to) {
                continue;
            }
            if self.agreement.field_type == Way::Evolve && !widens(own, to) {
                let own = type_name(field);
                self.notes.push(format!(
                    "column `{}` is of type {own}, and {to} in the contract",
                    agreed.name
                ));
                continue;
            }
            casts = true;
            cast = cast.column(field.name(), CastTo::from(to).formats(&agreed.column.formats));
        }
        if casts {
            let context = BindContext::new(self.expressions.as_ref());
            let bound = cast.bind(&schema, &context).map_err(|mistakes| {
                let found: Vec<_> = mistakes.into_iter().map(|mistake| mistake.message).collect();
                Error::new(
                    ErrorKind::Stopped,
                    format!("the contract is broken: {}", found.join("; ")),
                )
                .hint("change the type in the contract, or leave it out: any type will do then")
            })?;
            schema = bound.output;
            judge.cast = bound.local;
        }
        judge.names = schema.fields().iter().map(|field| field.name().clone()).collect();
        for (at, field) in &mut judge.picks {
            if let Some(at) = at {
                *field = Arc::clone(&schema.fields()[*at]);
            }
        }
        let fields =
            judge.picks.iter().map(|(_, field)| field.as_ref().clone().with_nullable(true));
        judge.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let output = Arc::clone(&judge.schema);
        self.judge = Some(Arc::new(judge));
        Ok(output)
    }
}

/// What is known of a source whose columns have types. Columns are told by their places in it.
#[derive(Clone)]
struct Typed {
    schema: SchemaRef,
    absent: Absent,
    /// What comes out: which column, or null.
    picks: Vec<(Option<usize>, FieldRef)>,
    /// Columns that may have no value, with their names.
    fresh: Vec<(usize, String)>,
    /// Agreed columns, and the type that each becomes where it has another.
    held: Vec<(usize, Agreed, Option<FieldType>)>,
}

impl Default for Typed {
    fn default() -> Self {
        Self {
            schema: Arc::new(Schema::empty()),
            absent: Absent::default(),
            picks: Vec::new(),
            fresh: Vec::new(),
            held: Vec::new(),
        }
    }
}

impl Typed {
    /// With these of what comes out, and the columns that must be read for it: those, and what the
    /// contract has something to say about.
    fn kept(&self, places: &[usize]) -> Result<(Self, Vec<usize>)> {
        let picks = places.iter().map(|place| self.picks[*place].clone());
        let picks: Vec<_> = picks.collect();
        let mut read: Vec<usize> = picks.iter().filter_map(|(at, _)| *at).collect();
        let judged =
            self.held.iter().filter(|(_, agreed, to)| to.is_some() || !agreed.column.nullable);
        let judged = judged.map(|(at, ..)| *at).chain(self.fresh.iter().map(|(at, _)| *at));
        for at in judged {
            if !read.contains(&at) {
                read.push(at);
            }
        }
        let new_place = |at: usize| read.iter().position(|other| *other == at);
        let held = self
            .held
            .iter()
            .filter_map(|(at, agreed, to)| Some((new_place(*at)?, agreed.clone(), *to)));
        let kept = Self {
            schema: Arc::new(self.schema.project(&read).map_err(Error::from)?),
            absent: self.absent.clone(),
            picks: picks.into_iter().map(|(at, field)| (at.and_then(new_place), field)).collect(),
            fresh: (self.fresh.iter())
                .filter_map(|(at, name)| Some((new_place(*at)?, name.clone())))
                .collect(),
            held: held.collect(),
        };
        Ok((kept, read))
    }
}

/// How the columns of a source compare with the agreed ones.
struct Compared {
    /// For each agreed column, where it is.
    found: Vec<Option<usize>>,
    /// Where new ones are.
    new: Vec<usize>,
}

impl Extractor for Contracted {
    fn read_plan(&mut self) -> Result<Option<ReadPlan>> {
        let Some(mut plan) = self.inner.read_plan()? else { return Ok(None) };
        let names: Vec<String> = plan.columns.iter().map(|column| column.name.clone()).collect();
        let Compared { found, new } = self.compare(&names)?;
        let agreement = Arc::clone(&self.agreement);
        for (agreed, at) in agreement.columns.iter().zip(found) {
            let is_there = at.is_some();
            let at = match at {
                Some(at) => at,
                None if self.stands_in() => {
                    plan.columns.push(ColumnPlan::new(&agreed.name, FieldType::String));
                    plan.columns.len() - 1
                }
                None => continue,
            };
            let column = &mut plan.columns[at];
            if let Some(field_type) = agreed.field_type()
                && agreement.field_type != Way::Evolve
            {
                column.field_type = field_type;
                column.declared = true;
                column.nested = None;
                column.formats.clone_from(&agreed.column.formats);
            }
            if is_there {
                self.agreed.push((agreed.clone(), column.clone()));
            }
        }
        if matches!(agreement.new_column, Way::QuarantineRecord | Way::NullValue) {
            let mut at = 0..;
            let fresh =
                plan.columns.extract_if(.., |_| at.next().is_some_and(|at| new.contains(&at)));
            let fresh: Vec<_> = fresh.collect();
            if agreement.new_column == Way::QuarantineRecord {
                self.fresh = fresh;
            }
        }
        Ok(Some(plan))
    }

    fn begin(&mut self, plan: Option<ReadPlan>) -> Result<SchemaRef> {
        match plan {
            Some(plan) => self.begin_text(plan),
            None => self.begin_typed(),
        }
    }

    /// Columns that nobody keeps are read all the same where the contract could find something wrong
    /// with their values: another type than the agreed one, nulls that may not be, values of columns
    /// that should not be there.
    fn keep(&mut self, places: &[usize]) -> Result<bool> {
        let Some((typed, notes)) = &self.typed else { return Ok(false) };
        let (kept, read) = typed.kept(places)?;
        if read.is_empty() || !self.inner.keep(&read)? {
            return Ok(false);
        }
        self.notes.truncate(*notes); // they are said again
        self.judge_typed(&kept)?;
        Ok(true)
    }

    fn next_chunk(&mut self) -> Result<Option<Box<dyn Chunk>>> {
        let judge = self.judge.as_ref();
        let judge =
            judge.ok_or_else(|| Error::internal("a source was read before it was begun"))?;
        let chunk = self.inner.next_chunk()?;
        Ok(chunk.map(|inner| -> Box<dyn Chunk> {
            Box::new(Judged { inner, judge: Arc::clone(judge) })
        }))
    }

    fn total_bytes(&self) -> Option<u64> {
        self.inner.total_bytes()
    }

    fn bytes_read(&self) -> u64 {
        self.inner.bytes_read()
    }

    fn notes(&self) -> Vec<String> {
        let own = self.notes.iter().map(|note| format!("{}: {note}", self.name));
        self.inner.notes().into_iter().chain(own).collect()
    }

    fn bookmarks(&self) -> Vec<(String, Value)> {
        self.inner.bookmarks()
    }

    fn empty(&self) -> Option<&str> {
        self.inner.empty()
    }
}

/// Whether every value of one type is one of the other, so that a column may have the latter.
fn widens(from: Option<FieldType>, to: FieldType) -> bool {
    use FieldType::{Bool, Date, Decimal, Double, Int, String, Timestamp};
    let Some(from) = from else { return false };
    match (from, to) {
        (_, String) | (Int, Double) | (Date, Timestamp) | (Bool, Int) => true,
        (Int, Decimal { precision, scale }) => i16::from(precision) - i16::from(scale) >= 19,
        (Decimal { precision: p, scale: s }, Decimal { precision, scale }) => {
            scale >= s && i16::from(precision) - i16::from(scale) >= i16::from(p) - i16::from(s)
        }
        _ => false,
    }
}

/// `column `a`` or `columns `a`, `b``.
fn columns(names: &[String]) -> String {
    let said: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    let noun = if names.len() == 1 { "column" } else { "columns" };
    format!("{noun} {}", said.join(", "))
}

fn shown<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    let more = if names.len() > 30 { ", …" } else { "" };
    format!("{}{more}", names[..names.len().min(30)].join(", "))
}
