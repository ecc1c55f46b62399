import DataflowOperator

/// An accumulator whose partial state is one column of encoded bytes.
protocol SketchAccumulator: Accumulator {
    /// Whether a partial state could not be read, and was left out.
    var isDamaged: Bool { get }
}

/// Sketches in a checkpoint.
enum SketchState {
    /// Reads every sketch once.
    ///
    /// - Throws: where one is damaged, or of a version that this one does not read.
    static func check(_ state: StateSnapshot) throws(OperatorError) {
        for table in state {
            for batch in table.batches {
                for (field, column) in zip(batch.schema.fields, batch.columns) where !isReadable(field, column) {
                    throw OperatorError(
                        .engine, .never, "damaged_state",
                        "a sketch in the column \(field.name) of the checkpoint's table \(table.name) is damaged, or was written by another release; start from another checkpoint"
                    )
                }
            }
        }
    }

    private static func isReadable(_ field: Field, _ column: Column) -> Bool {
        let sketch: any SketchAccumulator
        if field.name.hasSuffix(DistinctSketchAccumulator.stateSuffix) {
            sketch = DistinctSketchAccumulator()
        } else if field.name.hasSuffix(QuantileSketchAccumulator.stateSuffix) {
            sketch = QuantileSketchAccumulator()
        } else {
            return true
        }
        guard field.type == .bytes, field.name.hasPrefix("#") else { return true }
        sketch.grow(to: 1)
        [Int32](repeating: 0, count: column.count).withUnsafeBufferPointer { sketch.merge([column], $0) }
        return !sketch.isDamaged
    }
}
