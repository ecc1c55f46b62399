import DataflowOperator
import Testing

@Suite struct SubtaskProgressTests {
    @Test func `the least is that of the subtask which has read the smallest part`() {
        let progress = SubtaskProgress(parallelism: 3)
        #expect(progress.least == 0)
        progress.update(0, 0.5)
        progress.update(1, 0.25)
        #expect(progress.least == 0)
        progress.update(2, 1)
        #expect(progress.least == 0.25)
        progress.update(1, 1)
        #expect(progress.least == 0.5)
    }
}
