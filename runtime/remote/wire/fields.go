package wire

// The numbers of fields, as in worker.proto.
const (
	fieldName  = 1
	fieldValue = 2

	callID         = 1
	callExchange   = 2
	callConfig     = 3
	callChain      = 4
	callPhase      = 5
	callRejection  = 6
	callFirst      = 7
	callConditions = 8
	callBudget     = 9
	callAge        = 10
	callShadow     = 11
	callChunk      = 12
	callView       = 13
	callRecords    = 14

	chunkData    = 1
	chunkLast    = 2
	chunkChanged = 3

	viewRoute       = 1
	viewRequest     = 2
	viewResponse    = 3
	viewPrincipal   = 4
	viewMetadata    = 5
	viewAttributes  = 6
	viewTraceParent = 7
	viewTraceState  = 8
	viewRequestID   = 9

	messageMethod    = 1
	messageScheme    = 2
	messageAuthority = 3
	messagePath      = 4
	messageStatus    = 5
	messageHeaders   = 6
	messageTrailers  = 7
	messageBody      = 8

	bodyBytes = 1

	principalSubject = 1
	principalIssuer  = 2
	principalScopes  = 3
	principalClaims  = 4

	answersCall    = 1
	answersAnswers = 2
	answersError   = 3

	answerKind      = 1
	answerAt        = 2
	answerTook      = 3
	answerFailure   = 4
	answerRequest   = 5
	answerResponse  = 6
	answerImmediate = 7
	answerReplace   = 8
	answerHold      = 9
	answerNoted     = 10

	notedAnnotations = 1
	notedSpans       = 2
	notedDropped     = 3

	annotationKey      = 1
	annotationText     = 2
	annotationBool     = 3
	annotationInt      = 4
	annotationUint     = 5
	annotationNumber   = 6
	annotationDuration = 7
	annotationTime     = 8

	spanName       = 1
	spanBegan      = 2
	spanEnded      = 3
	spanID         = 4
	spanClient     = 5
	spanAttributes = 6
	spanError      = 7

	failureKind  = 1
	failureText  = 2
	failureStack = 3

	mutationHeaders   = 1
	mutationTrailers  = 2
	mutationBody      = 3
	mutationMetadata  = 4
	mutationDynamic   = 5
	mutationMethod    = 6
	mutationAuthority = 7
	mutationPath      = 8
	mutationQuery     = 9
	mutationPrincipal = 10
	mutationStatus    = 11

	headersRemove    = 1
	headersSet       = 2
	headersOverwrite = 3
	headersAppend    = 4
	headersAdd       = 5

	queryRemove = 1
	querySet    = 2
	queryAppend = 3

	immediateStatus     = 1
	immediateHeaders    = 2
	immediateBody       = 3
	immediateGRPCStatus = 4
	immediateReason     = 5
	immediateCause      = 6

	valueNull    = 1
	valueBool    = 2
	valueNumber  = 3
	valueText    = 4
	valueDecimal = 5
	valueList    = 6
	valueMap     = 7

	listItems  = 1
	mapEntries = 1
)
