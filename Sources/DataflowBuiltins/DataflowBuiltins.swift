import Avro
import CSVParse
public import DataflowOperator
import Dedupe
import Explode
import FileSink
import FileSource
import GenerateSource
import HTTPServerSource
import HTTPSource
import JSONEncode
import JSONParse
import Join
import KafkaSink
import KafkaSource
import Lookup
import PgSink
import Protobuf
import SQLiteSink
import Sample
import Select
import Split
import StdoutSink
import TopN
import Union
import WindowAgg

/// The plugins of the standard build: one line for each folder in `plugins/`.
public enum BuiltinPlugins {
    public static var all: [any Plugin.Type] {
        [
            AvroPlugin.self,
            CSVParsePlugin.self,
            DedupePlugin.self,
            ExplodePlugin.self,
            FileSinkPlugin.self,
            FileSourcePlugin.self,
            GenerateSourcePlugin.self,
            HTTPServerSourcePlugin.self,
            HTTPSourcePlugin.self,
            JSONEncodePlugin.self,
            JSONParsePlugin.self,
            JoinPlugin.self,
            KafkaSinkPlugin.self,
            KafkaSourcePlugin.self,
            LookupPlugin.self,
            PgSinkPlugin.self,
            ProtobufPlugin.self,
            SQLiteSinkPlugin.self,
            SamplePlugin.self,
            SelectPlugin.self,
            SplitPlugin.self,
            StdoutSinkPlugin.self,
            TopNPlugin.self,
            UnionPlugin.self,
            WindowAggPlugin.self,
        ]
    }
}
