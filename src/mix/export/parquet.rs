//! Parquet without Arrow: rows of JSON values to columns with their levels, and rows back by the library's own record
//! reader, which knows nothing of how they were written.
//! A list is `required group (LIST) { repeated group list { required element } }`: a value's definition level is 1, that
//! of an empty list 0; the repetition level is 0 where a row's list begins and 1 inside it.

use super::table::{Column, Kind};
use super::{Map, Result, Value};
use crate::data::{Error, Fault, atomic};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::{Field, Row};
use parquet::schema::parser::parse_message_type;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Rows of a group: what is held in memory, and what a reader can skip.
const GROUP: usize = 10_000;

/// Keys of a passage.
const PASSAGE: [&str; 3] = ["docid", "title", "text"];

/// Writes `rows`, each with a cell for every column, in groups of [`GROUP`].
pub(super) fn write(path: &Path, columns: &[Column], rows: impl IntoIterator<Item = Result<Vec<Value>>>) -> Result<()> {
    atomic::write_with(path, |partial| {
        let failed = |error: ParquetError| Error::io("write", path)(std::io::Error::other(error));
        let file = File::create(partial).map_err(Error::io("create", partial))?;
        let level = ZstdLevel::try_new(3).map_err(failed)?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        let schema = Arc::new(parse_message_type(&schema(columns)).map_err(failed)?);
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(failed)?;
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let group = rows.by_ref().take(GROUP).collect::<Result<Vec<_>>>()?;
            let mut out = writer.next_row_group().map_err(failed)?;
            for (place, (_, kind)) in columns.iter().enumerate() {
                let cells: Vec<&Value> = group.iter().map(|row| &row[place]).collect();
                column(&mut out, *kind, &cells).map_err(failed)?;
            }
            out.close().map_err(failed)?;
        }
        writer.close().map(|_| ()).map_err(failed)
    })
}

/// The columns in Parquet's own words.
fn schema(columns: &[Column]) -> String {
    let list =
        |name: &str, element: &str| format!("required group {name} (LIST) {{ repeated group list {{ {element} }} }}");
    let text = |name: &str| format!("required binary {name} (STRING);");
    let fields = columns.iter().map(|(name, kind)| match kind {
        Kind::Text => text(name),
        Kind::Whole => format!("required int64 {name};"),
        Kind::Number => format!("required float {name};"),
        Kind::Texts => list(name, &text("element")),
        Kind::Wholes => list(name, "required int64 element;"),
        Kind::Numbers => list(name, "required float element;"),
        Kind::Passages => list(name, &format!("required group element {{ {} }}", PASSAGE.map(text).concat())),
        Kind::Nothing => String::new(),
    });
    format!("message instances {{ {} }}", fields.collect::<String>())
}

fn column(out: &mut SerializedRowGroupWriter<'_, File>, kind: Kind, cells: &[&Value]) -> Result<(), ParquetError> {
    let text = |value: &Value| value.as_str().map(|text| ByteArray::from(text.as_bytes().to_vec()));
    #[expect(clippy::cast_possible_truncation, reason = "scores are f32 that JSON holds as f64")]
    let number = |value: &Value| value.as_f64().map(|number| number as f32);
    match kind {
        Kind::Text => plain::<ByteArrayType>(out, cells, text),
        Kind::Whole => plain::<Int64Type>(out, cells, Value::as_i64),
        Kind::Number => plain::<FloatType>(out, cells, number),
        Kind::Nothing => Ok(()),
        Kind::Texts => lists::<ByteArrayType>(out, cells, text),
        Kind::Wholes => lists::<Int64Type>(out, cells, Value::as_i64),
        Kind::Numbers => lists::<FloatType>(out, cells, number),
        Kind::Passages => PASSAGE
            .into_iter()
            .try_for_each(|key| lists::<ByteArrayType>(out, cells, |value| value.get(key).and_then(text))),
    }
}

fn plain<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, File>,
    cells: &[&Value],
    value: impl Fn(&Value) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let values = cells.iter().map(|cell| value(cell).ok_or_else(|| misfit(cell))).collect::<Result<Vec<_>, _>>()?;
    put::<T>(out, &values, None)
}

fn lists<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, File>,
    cells: &[&Value],
    value: impl Fn(&Value) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        let list = cell.as_array().ok_or_else(|| misfit(cell))?;
        if list.is_empty() {
            definitions.push(0);
            repetitions.push(0);
        }
        for (place, one) in list.iter().enumerate() {
            values.push(value(one).ok_or_else(|| misfit(one))?);
            definitions.push(1);
            repetitions.push(i16::from(place > 0));
        }
    }
    put::<T>(out, &values, Some((&definitions, &repetitions)))
}

fn put<T: DataType>(
    out: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    levels: Option<(&[i16], &[i16])>,
) -> Result<(), ParquetError> {
    let mut column = out.next_column()?.ok_or_else(|| ParquetError::General("a column too many".to_owned()))?;
    column.typed::<T>().write_batch(values, levels.map(|both| both.0), levels.map(|both| both.1))?;
    column.close()
}

fn misfit(value: &Value) -> ParquetError {
    ParquetError::General(format!("{value} does not fit its column"))
}

/// Calls `each` with every row and its number from 1; a row that holds what JSON does not is a defect.
pub(super) fn read(path: &Path, mut each: impl FnMut(Result<Map<String, Value>>, u64) -> Result<()>) -> Result<()> {
    let fault = |error: &ParquetError, line: Option<u64>| {
        let fault = Fault::new(path, "a Parquet file of texts, numbers and lists of them", error.to_string());
        Error::from(line.map_or(fault.clone(), |line| fault.line(line)))
    };
    let file = File::open(path).map_err(Error::io("read", path))?;
    let reader = SerializedFileReader::new(file).map_err(|error| fault(&error, None))?;
    for (row, line) in reader.get_row_iter(None).map_err(|error| fault(&error, None))?.zip(1..) {
        let row = row.map_err(|error| fault(&error, Some(line)))?;
        each(object(row).map_err(|error| fault(&error, Some(line))), line)?;
    }
    Ok(())
}

fn object(row: Row) -> Result<Map<String, Value>, ParquetError> {
    row.into_columns().into_iter().map(|(name, field)| Ok((name, json(field)?))).collect()
}

fn json(field: Field) -> Result<Value, ParquetError> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => value.into(),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float16(value) => f32::from(value).into(),
        Field::Float(value) => value.into(),
        Field::Double(value) => value.into(),
        Field::Str(text) => text.into(),
        Field::Group(row) => Value::Object(object(row)?),
        Field::ListInternal(list) => list.elements().iter().cloned().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        other => return Err(ParquetError::General(format!("a value that is neither: {other}"))),
    })
}
