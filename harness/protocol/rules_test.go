package protocol

import (
	"testing"
)

const connect = `
	out CONNECT
	in CONNACK
`

const resume = `
	out CONNECT
	in CONNACK sp=1
`

const cleanStart = `
	out CONNECT clean
	in CONNACK
`

// histories by rule: those that keep it and those that break it, in one table,
// since a line without "!" demands that nothing is reported.
var histories = []struct{ name, text string }{
	{"QoS 0", connect + `
		out PUBLISH q0 m1          => published m1
		in  PUBLISH q0 m2          => delivered m2
		in  PUBLISH q0 raw         => delivered`},
	{"QoS 1", connect + `
		out PUBLISH 7 q1 m1        => published m1
		in  PUBACK 7               => acked m1
		in  PUBLISH 7 q1 m2        => delivered m2
		out PUBACK 7               => answered m2`},
	{"QoS 2", connect + `
		out PUBLISH 7 q2 m1        => published m1
		in  PUBREC 7               => received m1
		out PUBREL 7               => released m1
		in  PUBCOMP 7              => completed m1
		in  PUBLISH 7 q2 m2        => delivered m2
		out PUBREC 7               => answered m2
		in  PUBREL 7               => discharged m2
		out PUBCOMP 7              => ended m2`},
	{"both directions under one id", connect + `
		out PUBLISH 7 q2 m1
		in  PUBLISH 7 q2 m2
		in  PUBREC 7               => received m1
		out PUBREC 7               => answered m2
		in  PUBREL 7               => discharged m2
		out PUBREL 7               => released m1
		out PUBCOMP 7              => ended m2
		in  PUBCOMP 7              => completed m1`},
	{"a payload that is not ours has its exchange", connect + `
		out PUBLISH 7 q2 raw       => published
		in  PUBREC 7               => received
		out PUBREL 7               => released
		in  PUBCOMP 7              => completed
		in  PUBACK 7               => none ! unknown-ack broker`},
	{"each step of an exchange on a connection of its own", connect + `
		out PUBLISH 1 q2 m1
		in  PUBLISH 1 q2 m2` + resume + `
		out PUBLISH 1 q2 m1 dup    => published m1 again
		in  PUBLISH 1 q2 m2 dup    => delivered m2 again
		in  PUBREC 1               => received m1
		out PUBREC 1               => answered m2` + resume + `
		out PUBREL 1               => released m1
		in  PUBREL 1               => discharged m2` + resume + `
		out PUBREL 1               => released m1
		in  PUBREL 1               => discharged m2
		in  PUBCOMP 1              => completed m1
		out PUBCOMP 1              => ended m2`},
	{"packets between CONNECT and CONNACK", `
		out CONNECT
		out SUBSCRIBE 1 t:1
		out PUBLISH 2 q1 m1
		in  CONNACK
		in  SUBACK 1 1
		in  PUBACK 2               => acked m1`},

	{"PINGREQ before CONNACK", `
		out CONNECT
		out PINGREQ
		in  CONNACK
		in  PINGRESP`},

	// packet-id
	{"id in use by another message", connect + `
		out PUBLISH 7 q1 m1
		out PUBLISH 7 q1 m2        => published m2 for m1 ! packet-id publisher
		in  PUBACK 7               => acked m2
		in  PUBACK 7               => none`},
	{"id in use by another QoS of the same message", connect + `
		out PUBLISH 7 q1 m1
		out PUBLISH 7 q2 m1 dup    ! packet-id publisher`},
	{"id in use until PUBCOMP", connect + `
		out PUBLISH 7 q2 m1
		in  PUBREC 7
		out PUBLISH 7 q2 m2        ! packet-id publisher`},
	{"the broker's id in use", connect + `
		in PUBLISH 7 q1 m1
		in PUBLISH 7 q1 m2         => delivered m2 ! packet-id broker
		out PUBACK 7               => answered m2
		out PUBACK 7               => none`},
	{"the broker's id in use over a resume", connect + `
		in PUBLISH 7 q1 m1` + resume + `
		in PUBLISH 7 q1 m2         ! packet-id broker`},
	{"the broker's id in use until PUBCOMP is written", connect + `
		in  PUBLISH 7 q2 m1
		out PUBREC 7
		in  PUBREL 7
		in  PUBLISH 7 q2 m2        ! packet-id broker`},
	{"ids are free after the exchange", connect + `
		in  PUBLISH 7 q2 m1
		out PUBREC 7
		in  PUBREL 7
		out PUBCOMP 7
		in  PUBLISH 7 q2 m2
		out PUBREC 7
		in  PUBLISH 8 q1 m3
		out PUBACK 8
		in  PUBLISH 8 q1 m4`},
	{"ids are free in a new epoch", connect + `
		out PUBLISH 7 q1 m1
		in  PUBLISH 7 q1 m2` + connect + `
		out PUBLISH 7 q1 m3        => published m3
		in  PUBLISH 7 q1 m4        => delivered m4`},
	{"packet id 0", connect + `
		out PUBLISH 0 q1 m1        ! packet-id publisher
		in  PUBLISH 0 q1 m2        ! packet-id broker
		out SUBSCRIBE 0 t:1        ! packet-id client
		out UNSUBSCRIBE 0          ! packet-id client`},
	{"resend under another id", connect + `
		out PUBLISH 7 q1 m1` + resume + `
		out PUBLISH 8 q1 m1 dup    => published m1 again moved ! packet-id publisher
		in  PUBACK 8               => acked m1`},
	{"resend under another id without DUP", connect + `
		out PUBLISH 7 q1 m1
		out PUBLISH 8 q1 m1        ! packet-id publisher`},
	{"the broker resends under another id", connect + `
		in PUBLISH 7 q1 m1` + resume + `
		in PUBLISH 8 q1 m1 dup     ! packet-id broker`},
	{"the copy of a second filter has an id of its own", connect + `
		in PUBLISH 7 q1 m1
		in PUBLISH 8 q1 m1` + resume + `
		in PUBLISH 7 q1 m1 dup
		in PUBLISH 8 q1 m1 dup
		in PUBLISH 9 q1 m1 dup`},
	{"the same message of a broker under another id, once acknowledged", connect + `
		in  PUBLISH 7 q1 m1
		out PUBACK 7` + resume + `
		in  PUBLISH 8 q1 m1 dup`},
	{"the same payload given again is another message", connect + `
		out PUBLISH 7 q1 m1
		out PUBLISH 8 q1 m1 young  => published m1`},
	{"payloads that are not ours are not told apart", connect + `
		out PUBLISH 7 q1 raw
		out PUBLISH 8 q1 raw
		in  PUBLISH 7 q1 raw` + resume + `
		in  PUBLISH 8 q1 raw dup`},
	{"a copy without DUP under another id is new", connect + `
		in PUBLISH 7 q1 m1` + resume + `
		in PUBLISH 8 q1 m1`},
	{"requests share the ids", connect + `
		out PUBLISH 7 q1 m1
		out SUBSCRIBE 7 t:1        ! packet-id client
		in  SUBACK 7 1
		in  PUBACK 7
		out SUBSCRIBE 7 t:1
		out UNSUBSCRIBE 7          ! packet-id client
		out PUBLISH 7 q1 m2        ! packet-id publisher`},
	{"requests share the ids in a clean session", cleanStart + `
		out PUBLISH 7 q1 m1
		out SUBSCRIBE 7 t:1        ! packet-id client`},
	{"an UNSUBSCRIBE has its id too", connect + `
		out UNSUBSCRIBE 7
		out PUBLISH 7 q1 m1        ! packet-id publisher`},
	{"requests have no ids over a reconnect", connect + `
		out SUBSCRIBE 7 t:1` + resume + `
		out SUBSCRIBE 7 t:1
		in  SUBACK 7 1
		out UNSUBSCRIBE 7
		in  UNSUBACK 7
		out PUBLISH 7 q1 m1`},

	// publish-after-pubrel
	{"PUBLISH after PUBREL", connect + `
		out PUBLISH 7 q2 m1
		in  PUBREC 7
		out PUBREL 7` + resume + `
		out PUBLISH 7 q2 m1 dup    => published m1 again ! publish-after-pubrel publisher
		in  PUBREC 7
		out PUBREL 7
		in  PUBCOMP 7`},
	{"PUBLISH after PUBCOMP", connect + `
		out PUBLISH 7 q2 m1
		in  PUBREC 7
		out PUBREL 7
		in  PUBCOMP 7` + resume + `
		out PUBLISH 7 q2 m1 dup    => published m1 again ! publish-after-pubrel publisher`},
	{"PUBLISH after PUBREC is legal, the library may not have seen it", connect + `
		out PUBLISH 7 q2 m1
		in  PUBREC 7` + resume + `
		out PUBLISH 7 q2 m1 dup    => published m1 again
		in  PUBREC 7               => received m1
		out PUBREL 7
		in  PUBCOMP 7              => completed m1`},
	{"the broker's PUBLISH after PUBREL", connect + `
		in  PUBLISH 7 q2 m1
		out PUBREC 7
		in  PUBREL 7` + resume + `
		in  PUBLISH 7 q2 m1 dup    => delivered m1 ! publish-after-pubrel broker
		out PUBREC 7
		out PUBCOMP 7              => ended m1`},
	{"the broker's PUBLISH after PUBCOMP", connect + `
		in  PUBLISH 7 q2 m1
		out PUBREC 7
		in  PUBREL 7
		out PUBCOMP 7` + resume + `
		in  PUBLISH 7 q2 m1 dup    => delivered m1 ! publish-after-pubrel broker`},
	{"the same message once more after PUBCOMP, not as a resend", connect + `
		in  PUBLISH 7 q2 m1
		out PUBREC 7
		in  PUBREL 7
		out PUBCOMP 7
		in  PUBLISH 7 q2 m1        => delivered m1`},

	// dup-flag
	{"DUP=1 at QoS 0", connect + `
		out PUBLISH q0 m1 dup      ! dup-flag publisher
		in  PUBLISH q0 m2 dup      ! dup-flag broker`},
	{"DUP=0 on a resend", connect + `
		out PUBLISH 7 q1 m1` + resume + `
		out PUBLISH 7 q1 m1        => published m1 again ! dup-flag publisher`},
	{"DUP=0 on a resend of what the library does not know to be acknowledged", connect + `
		out PUBLISH 7 q1 m1
		in  PUBACK 7` + resume + `
		out PUBLISH 7 q1 m1 dup    => published m1 again
		in  PUBACK 7               => acked m1
		out PUBLISH 7 q1 m1        ! dup-flag publisher`},
	{"DUP=1 on a first transmission", connect + `
		out PUBLISH 7 q1 m1 dup    => published m1 ! dup-flag publisher
		out PUBLISH 8 q1 m3        => published m3
		out PUBLISH 9 q1 m2 dup    => published m2 again`},
	{"DUP=0 on the broker's resend", connect + `
		in PUBLISH 7 q1 m1
		in PUBLISH 8 q2 m2
		out PUBREC 8` + resume + `
		in PUBLISH 7 q1 m1         => delivered m1 ! dup-flag broker
		in PUBLISH 8 q2 m2         => delivered m2 again ! dup-flag broker`},
	{"DUP=0 on a connection that a rival took the session from, read late", connect + `
		3: out CONNECT
		2: out CONNECT
		3: in  CONNACK sp=1
		2: in  CONNACK sp=1
		2: in  PUBLISH 7 q1 m1 dup => delivered m1
		3: in  PUBLISH 7 q1 m1     => delivered m1
		3: in  PUBLISH 7 q1 m1     => delivered m1 ! dup-flag broker`},
	{"DUP=0 on a resend to a connection that began after the first copy", connect + `
		in  PUBLISH 7 q1 m1
		3: out CONNECT
		2: out CONNECT
		2: in  CONNACK sp=1
		2: in  PUBLISH 7 q1 m1 dup => delivered m1
		3: in  CONNACK sp=1
		3: in  PUBLISH 7 q1 m1     => delivered m1 ! dup-flag broker`},
	{"DUP=0 on the broker's new publication after PUBACK", connect + `
		in  PUBLISH 7 q1 m1
		out PUBACK 7
		in  PUBLISH 7 q1 m1        => delivered m1`},
	{"DUP=1 on a first copy is legal if an earlier one may be lost", connect + resume + `
		in PUBLISH 7 q1 m1 dup     => delivered m1`},
	{"DUP=1 on a first copy of a message younger than the connection", connect + `
		in PUBLISH 7 q1 m1 dup young  ! dup-flag? broker`},
	{"DUP=1 on a first copy of a message as old as the connection", connect + `
		in PUBLISH 7 q1 m1 dup at=1002`},
	{"DUP=1 before the CONNACK proves nothing", `
		out CONNECT
		in PUBLISH 7 q1 m1 dup young  ! first-packet broker`},
	{"a session that the broker lost: the client may go on with its half", connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 2
		out PUBREL 2
		out PUBLISH 3 q1 m3` + connect + `
		out PUBLISH 1 q1 m1 dup    => published m1 again
		out PUBREL 2               => released m2
		in  PUBCOMP 2              => completed m2
		out PUBLISH 3 q1 m3        => published m3
		in  PUBACK 1               => acked m1
		in  PUBACK 3               => acked m3`},
	{"a session that the broker lost: the client may begin anew", connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q1 m2` + connect + `
		out PUBLISH 2 q1 m1        => published m1
		out PUBLISH 1 q1 m2        => published m2
		in  PUBACK 1               => acked m2
		in  PUBACK 2               => acked m1`},

	// resend-after-clean
	{"a clean session resends PUBLISH", cleanStart + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 2
		out PUBREL 2
		out PUBLISH 3 q1 m3` + cleanStart + `
		out PUBLISH 1 q1 m1 dup    => published m1 again ! resend-after-clean publisher
		in  PUBACK 1               => acked m1
		out PUBREL 2               ! resend-after-clean publisher
		in  PUBCOMP 2
		out PUBLISH 4 q1 m3        ! resend-after-clean publisher`},
	{"a clean session ends with its connection", cleanStart + `
		out PUBLISH 1 q1 m1` + connect + `
		out PUBLISH 1 q1 m1 dup    ! resend-after-clean publisher`},
	{"a session after a clean one has state of its own", cleanStart + connect + `
		out PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1 dup` + connect + `
		out PUBLISH 1 q1 m1 dup`},
	{"a clean session resends before its CONNACK", cleanStart + `
		out PUBLISH 1 q1 m1
		out CONNECT clean
		out PUBLISH 1 q1 m1 dup    ! resend-after-clean publisher
		in  CONNACK
		in  PUBACK 1               => acked m1`},
	{"a clean session uses the ids for new messages", cleanStart + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q2 m2` + cleanStart + `
		out PUBLISH 1 q1 m3        => published m3
		in  PUBACK 1               => acked m3
		out SUBSCRIBE 2 t:1`},
	{"two epochs later nothing is proved any more", cleanStart + `
		out PUBLISH 1 q1 m1` + cleanStart + cleanStart + `
		out PUBLISH 1 q1 m1 dup    => published m1 again`},
	{"a clean session that was refused discards nothing", connect + `
		out PUBLISH 1 q1 m1
		out CONNECT clean
		in  CONNACK code=5` + resume + `
		out PUBLISH 1 q1 m1 dup    => published m1 again`},
	{"MQTT 5.0: nothing is resent when the broker has no session", "level 5" + connect + `
		out PUBLISH 1 q1 m1` + connect + `
		out PUBLISH 1 q1 m1 dup    ! resend-after-clean publisher`},

	// resend-order
	{"resends in order", connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q2 m2
		out PUBLISH 3 q1 m3` + resume + `
		out PUBLISH 1 q1 m1 dup
		out PUBLISH 4 q1 m4
		out PUBLISH 2 q2 m2 dup
		out PUBLISH 3 q1 m3 dup
		out PUBLISH 2 q2 m2 dup
		out PUBLISH 3 q1 m3 dup` + resume + `
		out PUBLISH 1 q1 m1 dup
		out PUBLISH 2 q2 m2 dup
		out PUBLISH 3 q1 m3 dup
		out PUBLISH 4 q1 m4 dup`},
	{"resends out of order", connect + `
		out PUBLISH 1 q1 m1 t=a
		out PUBLISH 2 q2 m2 t=b` + resume + `
		out PUBLISH 2 q2 m2 dup t=b
		out PUBLISH 1 q1 m1 dup t=a  ! resend-order publisher`},
	{"PUBREL in the order of either PUBREC, where PUBLISH was sent again after it", connect + `
		out PUBLISH 1 q2 m1
		in  PUBREC 1
		out PUBREL 1` + resume + `
		out PUBLISH 2 q2 m2
		out PUBLISH 1 q2 m1 dup    ! publish-after-pubrel publisher
		in  PUBREC 2
		in  PUBREC 1
		out PUBREL 2
		out PUBREL 1
		in  PUBCOMP 2
		in  PUBCOMP 1`},
	{"two PUBRECs, and the PUBREL answers the first", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		out PUBLISH 2 q2 m2 dup
		in  PUBREC 2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 2
		out PUBREL 1`},
	{"two PUBRECs, and the PUBREL answers the second", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		out PUBLISH 2 q2 m2 dup
		in  PUBREC 2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 1
		out PUBREL 2`},
	{"PUBREL in the order of PUBREC", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 2
		in  PUBREC 1
		out PUBREL 2
		out PUBREL 1` + resume + `
		out PUBREL 2
		out PUBREL 1
		in PUBCOMP 1
		in PUBCOMP 2`},
	{"PUBREL resent out of order", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 2
		in  PUBREC 1
		out PUBREL 2
		out PUBREL 1` + resume + `
		out PUBREL 1
		out PUBREL 2               ! resend-order publisher`},
	{"PUBREL sent out of order", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 2
		out PUBREL 1               ! resend-order publisher`},
	{"the broker resends out of order", connect + `
		in PUBLISH 1 q1 m1
		in PUBLISH 2 q1 m2` + resume + `
		in PUBLISH 2 q1 m2 dup
		in PUBLISH 1 q1 m1 dup     ! resend-order broker`},
	{"the broker resends topic by topic", connect + `
		in PUBLISH 1 q1 m1 t=a
		in PUBLISH 2 q1 m2 t=b
		in PUBLISH 3 q1 m3 t=a` + resume + `
		in PUBLISH 2 q1 m2 dup t=b
		in PUBLISH 1 q1 m1 dup t=a
		in PUBLISH 3 q1 m3 dup t=a`},
	{"the broker resends topic by topic, with new messages between", connect + `
		in PUBLISH 1 q1 m1 t=a
		in PUBLISH 2 q1 m2 t=b` + resume + `
		in PUBLISH 2 q1 m2 dup t=b
		in PUBLISH 3 q1 m3 t=a
		in PUBLISH 1 q1 m1 dup t=a`},
	{"the broker resends topic by topic, with new messages between, on the only connection", connect + `
		in PUBLISH 1 q1 m1 t=a
		in PUBLISH 2 q1 m2 t=b
		end` + resume + `
		in PUBLISH 2 q1 m2 dup t=b
		in PUBLISH 3 q1 m3 t=a
		in PUBLISH 1 q1 m1 dup t=a`},
	{"the broker's PUBREL topic by topic", connect + `
		in  PUBLISH 1 q2 m1 t=a
		in  PUBLISH 2 q2 m2 t=b
		in  PUBLISH 3 q2 m3 t=a
		out PUBREC 1
		out PUBREC 2
		out PUBREC 3` + resume + `
		in  PUBREL 2
		in  PUBREL 1
		in  PUBREL 3`},
	{"the broker's PUBREL out of order", connect + `
		in  PUBLISH 1 q2 m1 t=a
		in  PUBLISH 2 q2 m2 t=a
		in  PUBLISH 3 q2 m3 t=b
		out PUBREC 1
		out PUBREC 2
		out PUBREC 3` + resume + `
		in  PUBREL 3
		in  PUBREL 2
		in  PUBREL 1               ! resend-order broker`},
	{"acknowledgements out of order", connect + `
		in  PUBLISH 1 q1 m1
		in  PUBLISH 2 q1 m2
		in  PUBLISH 3 q2 m3
		in  PUBLISH 4 q2 m4
		out PUBREC 4
		out PUBREC 3               ! resend-order? subscriber
		out PUBACK 2
		out PUBACK 1               ! resend-order? subscriber`},
	{"acknowledgements in order of the copies", connect + `
		in  PUBLISH 1 q1 m1
		in  PUBLISH 2 q1 m2` + resume + `
		in  PUBLISH 1 q1 m1 dup
		out PUBACK 1
		in  PUBLISH 2 q1 m2 dup
		in  PUBLISH 1 q1 m1 dup
		out PUBACK 2
		out PUBACK 1`},

	{"two copies, acknowledged in the order of the first ones", connect + `
		in  PUBLISH 1 q1 m1
		in  PUBLISH 2 q1 m2
		in  PUBLISH 1 q1 m1 dup
		out PUBACK 1
		out PUBACK 2
		out PUBACK 1`},
	{"what was taken back has no place in the order", connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q1 m2
		unsent PUBLISH 2 q1 m2` + resume + `
		out PUBLISH 2 q1 m2
		out PUBLISH 1 q1 m1 dup` + resume + `
		out PUBLISH 2 q1 m2 dup
		out PUBLISH 1 q1 m1 dup`},

	{"PUBREL of what the library does not know to be complete", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 1
		out PUBREL 2
		in  PUBCOMP 1` + resume + `
		out PUBREL 2
		out PUBREL 1               => released m1
		in  PUBCOMP 2
		in  PUBCOMP 1              => completed m1`},

	{"a PUBREC that came twice gives no order", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		out PUBLISH 1 q2 m1 dup
		in  PUBREC 1
		in  PUBREC 2
		in  PUBREC 1
		out PUBREL 1
		out PUBREL 2
		out PUBREL 1
		in  PUBLISH 1 q2 m3
		in  PUBLISH 2 q2 m4
		in  PUBLISH 1 q2 m3 dup
		out PUBREC 1
		out PUBREC 2
		out PUBREC 1` + resume + `
		in  PUBREL 1
		in  PUBREL 2`},
	{"PUBREL again on its own connection", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 1
		out PUBREL 2
		out PUBREL 1`},
	{"a PUBREC too many gives no order", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		in  PUBREC 2
		in  PUBREC 1               ! unknown-ack broker
		out PUBREL 2
		out PUBREL 1`},
	{"PUBREL of a PUBLISH after PUBREL", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 1
		out PUBREL 2` + resume + `
		out PUBREL 2
		out PUBLISH 1 q2 m1 dup    ! publish-after-pubrel publisher
		in  PUBREC 1
		out PUBREL 1`},
	{"PUBREL in the order of the first PUBRECs, of which the broker repeats some", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2` + resume + `
		in  PUBREC 1
		in  PUBREC 2
		out PUBLISH 1 q2 m1 dup
		out PUBLISH 2 q2 m2 dup
		in  PUBREC 2
		in  PUBREC 1
		out PUBREL 1
		out PUBREL 2`},
	{"PUBREL in the order of the PUBRECs of its connection, where PUBLISH was sent after PUBREL", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		out PUBREL 1` + resume + `
		out PUBLISH 2 q2 m2 dup
		out PUBLISH 1 q2 m1 dup    ! publish-after-pubrel publisher
		in  PUBREC 2
		in  PUBREC 1
		out PUBREL 2
		out PUBREL 1`},

	{"what an older connection reads late, of exchanges that are over, has no place", connect + resume + `
		in  PUBLISH 1 q1 m1 dup
		out PUBACK 1
		in  PUBLISH 2 q1 m2
		out PUBACK 2
		in  PUBLISH 3 q1 m3
		out PUBACK 3
		in  PUBLISH 4 q1 m4
		out PUBACK 4
		in  PUBLISH 5 q1 m5
		out PUBACK 5
		in  PUBLISH 6 q1 m6
		out PUBACK 6
		in  PUBLISH 7 q1 m7
		out PUBACK 7
		in  PUBLISH 8 q1 m8
		out PUBACK 8
		in  PUBLISH 9 q1 m9
		out PUBACK 9
		in  PUBLISH 10 q1 m10
		out PUBACK 10
		1: in  PUBLISH 1 q1 m1     => delivered m1
		3: out CONNECT
		in  CONNACK sp=1
		in  PUBLISH 1 q1 m1 dup
		in  PUBLISH 10 q1 m10 dup  => delivered m10`},

	{"an answer to what an older connection read late, of an exchange that is forgotten", connect + resume + `
		in  PUBLISH 1 q1 m1 dup
		1: in  PUBLISH 1 q1 m1     => delivered m1
		2: out PUBACK 1
		in  PUBLISH 2 q1 m2
		out PUBACK 2
		in  PUBLISH 3 q1 m3
		out PUBACK 3
		in  PUBLISH 4 q1 m4
		out PUBACK 4
		in  PUBLISH 5 q1 m5
		out PUBACK 5
		in  PUBLISH 6 q1 m6
		out PUBACK 6
		in  PUBLISH 7 q1 m7
		out PUBACK 7
		in  PUBLISH 8 q1 m8
		out PUBACK 8
		in  PUBLISH 9 q1 m9
		out PUBACK 9
		1: out PUBACK 1            => answered m1
		1: out PUBACK 1            ! unknown-ack subscriber`},

	{"what two connections at a time read has no order", connect + `
		2: out CONNECT
		2: in  CONNACK sp=1
		2: in  PUBLISH 1 q1 m1
		2: in  PUBLISH 2 q1 m2
		2: end
		1: end
		3: out CONNECT
		3: in  CONNACK sp=1
		3: in  PUBLISH 2 q1 m2 dup
		3: in  PUBLISH 1 q1 m1 dup`},
	{"the same, when the first connection was over", connect + `
		1: end
		2: out CONNECT
		2: in  CONNACK sp=1
		2: in  PUBLISH 1 q1 m1
		2: in  PUBLISH 2 q1 m2
		2: end
		3: out CONNECT
		3: in  CONNACK sp=1
		3: in  PUBLISH 2 q1 m2 dup
		3: in  PUBLISH 1 q1 m1 dup  ! resend-order broker`},

	// resend-timing
	{"MQTT 3.1.1 leaves resends on one connection free", connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 1 q1 m1 dup    => published m1 again
		in  PUBACK 1               => acked m1
		in  PUBACK 1
		in  PUBACK 1               ! unknown-ack broker`},
	{"MQTT 5.0 forbids resends on one connection", "level 5" + connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 1 q1 m1 dup    ! resend-timing publisher
		in  PUBLISH 1 q1 m2
		in  PUBLISH 1 q1 m2 dup    ! resend-timing broker` + resume + `
		out PUBLISH 1 q1 m1 dup
		in  PUBLISH 1 q1 m2 dup`},

	// retained-on-resume
	{"retained messages on SUBSCRIBE, live ones without", connect + `
		out SUBSCRIBE 1 t:1
		in  PUBLISH q0 m1 retain
		in  SUBACK 1 1
		in  PUBLISH 1 q1 m2 retain
		in  PUBLISH 2 q1 m3 young
		out PUBACK 1
		out PUBACK 2`},
	{"RETAIN=1 on a resume", connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1
		in  PUBLISH q0 m1 young` + resume + `
		in  PUBLISH 1 q1 m2 retain ! retained-on-resume broker
		in  PUBLISH q0 m3 retain   ! retained-on-resume broker`},
	{"RETAIN=1 on a resume that may be the rest of the SUBSCRIBE", connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1
		in  PUBLISH 1 q1 m1 retain` + resume + `
		in  PUBLISH 1 q1 m1 dup retain
		in  PUBLISH 2 q1 m2 retain ! retained-on-resume? broker
		in  PUBLISH 3 q1 m3 dup retain`},
	{"RETAIN=1 on a resume, and nothing was surely sent after the SUBACK", connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1
		in  PUBLISH q0 m1 at=1004` + resume + `
		in  PUBLISH 1 q1 m2 retain ! retained-on-resume? broker`},
	{"RETAIN=1 proves nothing about what is still to come", connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1
		in  PUBLISH q0 m1 young retain` + resume + `
		in  PUBLISH 1 q1 m2 retain ! retained-on-resume? broker`},
	{"RETAIN=1 on a copy of what the SUBSCRIBE brought", connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1
		in  PUBLISH 1 q1 m1 retain
		in  PUBLISH q0 m2 young` + resume + resume + `
		in  PUBLISH 2 q1 m3 retain dup
		2: in PUBLISH 2 q1 m3 retain
		3: in PUBLISH 1 q1 m1 retain ! dup-flag broker`},
	{"RETAIN=1 in a new epoch without a subscription", connect + `
		out SUBSCRIBE 1 t:1
		in  SUBACK 1 1` + connect + `
		in  PUBLISH 1 q1 m1 retain ! retained-on-resume broker`},
	{"RETAIN=1 and DUP=1 at QoS 0 is no resend", connect + `
		in  PUBLISH q0 m1 retain dup ! dup-flag broker, retained-on-resume broker`},
	{"MQTT 5.0 has retain as published", "level 5" + connect + `
		in  PUBLISH 1 q1 m1 retain`},

	// suback
	{"SUBACK as asked", connect + `
		out SUBSCRIBE 1 a:0 b:1 c:2
		in  SUBACK 1 0 1 2`},
	{"SUBACK not as asked", connect + `
		out SUBSCRIBE 1 a:1 b:2 c:0 d:1
		in  SUBACK 1 128 1 1 3     ! suback broker, suback broker, suback broker, suback broker
		in  SUBACK 1 1 2 0 1       ! suback broker
		out SUBSCRIBE 2 a:1
		in  SUBACK 2 1 1           ! suback broker
		in  SUBACK 3 1             ! suback broker`},
	{"a SUBACK of another connection", connect + `
		out SUBSCRIBE 1 a:1` + resume + `
		in  SUBACK 1 1             ! suback broker`},

	// unknown-ack
	{"acknowledgements of nothing, read", connect + `
		in PUBACK 1                => none ! unknown-ack broker
		in PUBREC 1                ! unknown-ack broker
		in PUBCOMP 1               ! unknown-ack broker
		in UNSUBACK 1              ! unknown-ack broker`},
	{"acknowledgements of nothing, written", connect + `
		out PUBACK 1               ! unknown-ack subscriber
		out PUBREC 1               ! unknown-ack subscriber
		out PUBCOMP 1              ! unknown-ack subscriber`},
	{"acknowledgements of another step", connect + `
		out PUBLISH 1 q1 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1               ! unknown-ack broker
		in  PUBCOMP 1              ! unknown-ack broker
		in  PUBACK 2               ! unknown-ack broker
		in  PUBCOMP 2              ! unknown-ack broker
		in  PUBREC 2
		in  PUBREC 2               ! unknown-ack broker
		in  PUBCOMP 2              ! unknown-ack broker
		out PUBREL 2
		in  PUBREC 2               ! unknown-ack broker
		in  PUBCOMP 2
		in  PUBCOMP 2              ! unknown-ack broker`},
	{"acknowledgements of another step, written", connect + `
		in  PUBLISH 1 q1 m1
		in  PUBLISH 2 q2 m2
		out PUBREC 1               ! unknown-ack subscriber
		out PUBACK 2               ! unknown-ack subscriber
		out PUBCOMP 2              ! unknown-ack subscriber
		out PUBACK 1
		out PUBACK 1               ! unknown-ack subscriber
		out PUBREC 2
		out PUBREC 2               => answered m2
		in  PUBREL 2
		out PUBREC 2               ! unknown-ack subscriber
		out PUBCOMP 2
		out PUBCOMP 2              ! unknown-ack subscriber`},
	{"one PUBREC for each copy", connect + `
		in  PUBLISH 1 q2 m1
		out PUBREC 1` + resume + `
		in  PUBLISH 1 q2 m1 dup
		out PUBREC 1
		in  PUBREL 1
		out PUBREC 1               ! unknown-ack subscriber`},
	{"late acknowledgements of a second transmission", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 1 q2 m1 dup
		in  PUBREC 1
		out PUBREL 1
		out PUBREL 1
		in  PUBCOMP 1
		out PUBLISH 1 q2 m2
		in  PUBREC 1               => received m2
		in  PUBCOMP 1              => none
		in  PUBREC 1               => received m2
		in  PUBCOMP 1              ! unknown-ack broker
		out PUBREL 1
		in  PUBCOMP 1              => completed m2`},
	{"a late acknowledgement when the exchange is over", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 1 q2 m1 dup
		in  PUBREC 1
		out PUBREL 1
		in  PUBCOMP 1
		in  PUBREC 1               => none`},
	{"a late acknowledgement when the exchange is forgotten", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 1 q2 m1 dup
		in  PUBREC 1
		out PUBREL 1
		in  PUBCOMP 1
		out PUBLISH 2 q1 m2
		out PUBLISH 3 q1 m3
		out PUBLISH 4 q1 m4
		out PUBLISH 5 q1 m5
		out PUBLISH 6 q1 m6
		out PUBLISH 7 q1 m7
		out PUBLISH 8 q1 m8
		out PUBLISH 9 q1 m9
		in  PUBACK 2
		in  PUBACK 3
		in  PUBACK 4
		in  PUBACK 5
		in  PUBACK 6
		in  PUBACK 7
		in  PUBACK 8
		in  PUBACK 9
		in  PUBREC 1               => none`},
	{"the broker acknowledges both transmissions on the second connection", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q1 m2` + resume + `
		out PUBLISH 1 q2 m1 dup
		out PUBLISH 2 q1 m2 dup
		in  PUBREC 1
		in  PUBACK 2
		out PUBREL 1
		in  PUBREC 1
		in  PUBACK 2
		out PUBREL 1
		in  PUBREC 1               ! unknown-ack broker
		in  PUBACK 2               ! unknown-ack broker`},
	{"the broker says PUBREC again on a new connection", connect + `
		out PUBLISH 1 q2 m1
		out PUBLISH 2 q2 m2
		in  PUBREC 1
		in  PUBREC 2
		out PUBREL 1` + resume + `
		in  PUBREC 1               => received m1
		in  PUBREC 2               => received m2
		in  PUBREC 2               ! unknown-ack broker
		out PUBREL 1
		out PUBREL 2
		in  PUBCOMP 1
		in  PUBCOMP 2
		in  PUBREC 2               ! unknown-ack broker`},
	{"the broker says PUBREC again and answers the copy", connect + `
		out PUBLISH 1 q2 m1
		in  PUBREC 1` + resume + `
		out PUBLISH 1 q2 m1 dup
		in  PUBREC 1
		in  PUBREC 1
		in  PUBREC 1               ! unknown-ack broker`},
	{"the broker says PUBREC again in a new epoch", connect + `
		out PUBLISH 1 q2 m1
		in  PUBREC 1` + connect + `
		in  PUBREC 1               ! unknown-ack broker`},
	{"PUBREL before PUBREC", connect + `
		out PUBLISH 1 q2 m1
		out PUBREL 1               ! unknown-ack publisher
		in  PUBLISH 1 q2 m2
		in  PUBREL 1               ! unknown-ack broker`},
	{"PUBREL of an id that a QoS 1 message has or had", connect + `
		in  PUBLISH 1 q1 m1
		in  PUBREL 1               => none ! unknown-ack broker
		out PUBACK 1               => answered m1
		in  PUBREL 1               => none
		out PUBCOMP 1              => none
		out PUBLISH 1 q1 m2
		out PUBREL 1               => none ! unknown-ack publisher
		in  PUBACK 1               => acked m2`},
	{"PUBREL of an unknown id", connect + `
		in  PUBREL 1               => none
		out PUBCOMP 1              => none
		out PUBREL 1               => none
		in  PUBCOMP 1              => none
		in  PUBCOMP 1              ! unknown-ack broker`},
	{"a late acknowledgement on the next connection of the epoch", connect + `
		in  PUBLISH 1 q1 m1` + resume + `
		in  PUBLISH 1 q1 m1 dup
		out PUBACK 1               => answered m1
		out PUBACK 1               => none`},
	{"a late acknowledgement in the next epoch", connect + `
		in  PUBLISH 1 q1 m1
		out PUBLISH 1 q1 m2` + connect + `
		out PUBACK 1               ! unknown-ack subscriber
		in  PUBACK 1               ! unknown-ack broker`},
	{"PUBREL, PUBCOMP and PUBREL again cross on one connection", connect + `
		in  PUBLISH 1 q2 m1
		in  PUBLISH 1 q2 m1 dup    => delivered m1 again
		out PUBREC 1
		in  PUBREL 1
		out PUBREC 1
		in  PUBREL 1
		out PUBCOMP 1              => ended m1
		out PUBCOMP 1              => none
		out PUBLISH 1 q2 m2
		out PUBLISH 1 q2 m2 dup    => published m2 again
		in  PUBREC 1
		out PUBREL 1
		in  PUBREC 1
		out PUBREL 1               => released m2
		in  PUBCOMP 1              => completed m2
		in  PUBCOMP 1`},

	// first-packet
	{"the first packet is no CONNACK", `
		out CONNECT
		in  PUBLISH q0 m1          ! first-packet broker
		in  CONNACK
		in  CONNACK                ! first-packet broker`},

	// server-packet
	{"packets of the other side", connect + `
		in  CONNECT                ! server-packet broker
		in  SUBSCRIBE 1 a:0        ! server-packet broker
		in  UNSUBSCRIBE 1          ! server-packet broker
		in  PINGREQ                ! server-packet broker
		in  DISCONNECT             ! server-packet broker
		in  AUTH                   ! server-packet broker
		out CONNACK                ! server-packet client
		out SUBACK 1 0             ! server-packet client
		out UNSUBACK 1             ! server-packet client
		out PINGRESP               ! server-packet client
		out AUTH                   ! server-packet client
		out PINGREQ
		in  PINGRESP`},
	{"an UNSUBACK of the client answers nothing", connect + `
		out UNSUBSCRIBE 7
		out UNSUBACK 7             ! server-packet client
		in  UNSUBACK 7
		in  UNSUBACK 7             ! unknown-ack broker`},
	{"MQTT 5.0 lets the broker disconnect", "level 5" + connect + `
		in  DISCONNECT`},
	{"QoS 3", connect + `
		out PUBLISH 1 q3 m1        ! server-packet client
		in  PUBLISH 1 q3 m2        ! server-packet broker`},
	{"CONNECT comes first and once", `
		1: out PINGREQ             ! server-packet client
		1: out CONNECT
		1: out CONNECT             ! server-packet client`},
	{"nothing is written after DISCONNECT", connect + `
		out DISCONNECT
		out PINGREQ
		in  PINGRESP
		out PINGREQ                ! server-packet client
		end
		settle                     ! server-packet client
		settle` + connect + `
		out DISCONNECT
		out PINGREQ
		2: end
		3: out CONNECT             ! server-packet client`},
	{"what the socket refused after DISCONNECT was not written", connect + `
		out DISCONNECT
		out PINGREQ
		in  PINGRESP
		unsent PINGREQ
		end` + connect},
	{"what the socket refused is what it says", connect + `
		out DISCONNECT
		out PINGREQ
		unsent PUBLISH q0 m1
		settle                     ! server-packet client
		out PUBLISH 1 q1 m1
		unsent PUBLISH 2 q1 m1
		settle                     ! server-packet client`},
	{"a DISCONNECT that the socket refused, after the next packet", connect + `
		out DISCONNECT
		out PINGREQ
		unsent DISCONNECT
		settle`},
	{"a DISCONNECT that the socket refused", connect + `
		out DISCONNECT
		unsent DISCONNECT
		out PINGREQ
		out PINGREQ`},

	// Unsent
	{"a PUBLISH taken back: sent", connect + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1 dup    => published m1 again
		in  PUBACK 1               => acked m1`},
	{"a PUBLISH taken back: not sent", connect + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1        => published m1 again`},
	{"a PUBLISH taken back twice", connect + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1        ! dup-flag publisher`},
	{"a PUBLISH taken back: taken on anew", connect + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 2 q1 m1        => published m1`},
	{"a PUBLISH taken back: dropped by the library", connect + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m2
		out PUBLISH 2 q1 m1`},
	{"a PUBLISH taken back: sent by a clean session", cleanStart + `
		out PUBLISH 1 q1 m1
		unsent PUBLISH 1 q1 m1` + cleanStart + `
		out PUBLISH 1 q1 m1`},
	{"a resend taken back: the first transmission stands", connect + `
		out PUBLISH 1 q1 m1` + resume + `
		out PUBLISH 1 q1 m1 dup
		unsent PUBLISH 1 q1 m1 dup` + resume + `
		out PUBLISH 1 q1 m1        ! dup-flag publisher`},
	{"a PUBREL taken back", connect + `
		out PUBLISH 1 q2 m1
		in  PUBREC 1
		out PUBLISH 2 q2 m2
		in  PUBREC 2
		out PUBREL 1
		unsent PUBREL 1` + resume + `
		out PUBLISH 1 q2 m1 dup    => published m1 again
		in  PUBREC 1
		out PUBREL 1
		unsent PUBREL 1
		in  PUBCOMP 1              => completed m1`},
	{"a PUBLISH after PUBREL taken back", connect + `
		out PUBLISH 1 q2 m1
		in  PUBREC 1
		out PUBREL 1` + resume + `
		out PUBLISH 1 q2 m1 dup    ! publish-after-pubrel publisher
		unsent PUBLISH 1 q2 m1 dup` + resume + `
		out PUBLISH 1 q2 m1 dup    ! publish-after-pubrel publisher`},
	{"acknowledgements taken back", connect + `
		in  PUBLISH 1 q1 m1
		out PUBACK 1
		unsent PUBACK 1
		in  PUBLISH 2 q2 m2
		out PUBREC 2
		unsent PUBREC 2
		in  PUBLISH 3 q2 m3
		out PUBREC 3
		in  PUBREL 3
		out PUBCOMP 3
		unsent PUBCOMP 3` + resume + `
		out PUBACK 1
		in  PUBREL 2
		out PUBREC 2
		out PUBCOMP 3
		in  PUBLISH 3 q2 m4`},

	// Takeover
	{"an older connection after the CONNACK of a newer one", connect + `
		out PUBLISH 1 q1 m1
		in  PUBLISH 1 q2 m2` + resume + `
		in  PUBLISH 1 q2 m2 dup    => delivered m2 again
		out PUBREC 1
		out PUBLISH 1 q1 m1 dup
		1: in PUBLISH 1 q2 m2 dup  => delivered m2 again
		1: out PUBREC 1            => answered m2
		1: in PUBACK 1             => acked m1
		1: out PUBLISH 1 q1 m1 dup => published m1 again
		2: in PUBREL 1             => discharged m2
		2: in PUBACK 1             => acked m1
		1: in PUBLISH 1 q2 m2      => delivered m2 again
		1: out PUBREC 1
		2: out PUBLISH 1 q1 m3
		1: in PUBACK 1             => none
		2: in PUBACK 1             => acked m3`},
	{"an older connection of an older epoch", connect + `
		out PUBLISH 1 q1 m1
		in  PUBLISH 1 q1 m2` + connect + `
		in  PUBLISH 1 q1 m3
		out PUBLISH 1 q1 m4
		1: in PUBACK 1             => none
		1: out PUBACK 1            => none
		1: out PUBLISH 2 q1 m5     => published m5
		2: out PUBLISH 2 q1 m5 dup => published m5 again
		2: out PUBACK 1            => answered m3
		2: in PUBACK 1             => acked m4`},
	{"an older connection reads a copy that the newer one read first", connect + resume + `
		in PUBLISH 1 q2 m1 dup     => delivered m1
		1: in PUBLISH 1 q2 m1 dup  => delivered m1 again
		1: out PUBREC 1            => answered m1
		2: out PUBREC 1            => answered m1`},
	{"a message written on an older connection after a clean session began", connect + cleanStart + `
		1: out PUBLISH 1 q1 m1
		2: out PUBLISH 1 q1 m1 dup => published m1 again
		2: in PUBACK 1             => acked m1`},
	{"the CONNACK of an older connection after that of a newer one", connect + `
		in  PUBLISH 1 q1 m1
		out PUBLISH 1 q1 m2
		2: out CONNECT clean
		3: out CONNECT
		3: in CONNACK sp=1
		3: in PUBLISH 2 q1 m3
		2: in CONNACK
		3: in PUBLISH 1 q1 m4
		3: out PUBACK 2            => answered m3
		3: out PUBACK 1            => answered m4
		3: out PUBLISH 1 q1 m2 dup ! resend-after-clean publisher`},
	{"copies on an older connection that are deliveries of their own", connect + connect + `
		in PUBLISH 1 q1 m1
		in PUBLISH 2 q2 m2
		1: in PUBLISH 1 q1 m1      => delivered m1
		1: in PUBLISH 2 q2 m2      => delivered m2`},
	{"a QoS 1 copy on an older connection", connect + resume + `
		in PUBLISH 1 q1 m1 dup
		1: in PUBLISH 1 q1 m1      => delivered m1`},
	{"a connection that ended last is still judged", connect + `
		out DISCONNECT
		end` + connect + `
		end` + connect + `
		2: in PINGREQ              ! server-packet broker
		1: in PINGREQ
		3: end` + connect + `
		3: in PINGREQ              ! server-packet broker
		2: in PINGREQ`},
	{"a connection that lives on is known, whatever ends after it", connect + connect + `
		2: end` + connect + `
		3: end` + connect + `
		4: end` + connect + `
		1: in PINGREQ              ! server-packet broker
		4: in PINGREQ              ! server-packet broker`},
	{"a connection whose end is long past", connect + `
		1: end` + connect + `
		2: end` + connect + `
		3: end` + connect + `
		out PUBLISH 1 q1 m1
		1: in PUBACK 1             => none
		1: out PUBLISH 1 q1 m9     => published m9
		1: out PINGREQ
		4: in PUBACK 1             => acked m1`},
	{"a rival reads a PUBREC again, and the client completes on its own connection", connect + `
		1: out PUBLISH 7 q2 m1
		1: in PUBREC 7 => received m1
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBREC 7 => received m1
		1: out PUBREL 7 => released m1
		1: in PUBCOMP 7 => completed m1
		1: out PUBLISH 7 q1 m2 => published m2
		1: in PUBACK 7 => acked m2`},
	{"the same where the rival read it after the PUBREL", connect + `
		1: out PUBLISH 7 q2 m1
		1: in PUBREC 7
		1: out PUBREL 7
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBREC 7 => received m1
		1: in PUBCOMP 7 => completed m1
		1: out PUBLISH 7 q2 m2 => published m2
		1: in PUBREC 7 => received m2
		1: out PUBREL 7 => released m2
		1: in PUBCOMP 7 => completed m2`},
	{"a rival reads and answers nothing", connect + `
		in PUBLISH 1 q2 m1
		2: out CONNECT
		3: out CONNECT
		3: in CONNACK sp=1
		3: in PUBLISH 1 q2 m1 dup  => delivered m1 again
		3: in PUBLISH 2 q2 m2 dup  => delivered m2
		3: out PUBREC 1
		3: out PUBREC 2`},
	{"the client answers on a connection whose CONNACK was read before the rival's", connect + `
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBLISH 1 q1 m1      => delivered m1
		1: in PUBLISH 1 q1 m1 dup  => delivered m1
		1: out PUBACK 1            => answered m1
		1: in PUBLISH 1 q1 m2      => delivered m2
		2: in PUBLISH 1 q1 m1 dup  => delivered m1
		1: out PUBACK 1            => answered m2
		1: out PUBACK 1            => none
		3: out CONNECT
		3: in CONNACK sp=1
		3: in PUBLISH 1 q1 m3      => delivered m3
		3: out PUBACK 1            => answered m3`},
	{"the rival reads what the client's connection has read, before it is answered there", connect + `
		1: in PUBLISH 1 q1 m1      => delivered m1
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBLISH 1 q1 m1 dup  => delivered m1
		1: out PUBACK 1            => answered m1
		1: in PUBLISH 1 q1 m2      => delivered m2
		1: out PUBACK 1            => answered m2
		3: out CONNECT
		3: in CONNACK sp=1
		3: in PUBLISH 1 q1 m3      => delivered m3`},
	{"the same, and nothing more is read on the client's connection", connect + `
		1: in PUBLISH 1 q1 m1
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBLISH 1 q1 m1 dup
		1: out PUBACK 1            => answered m1
		3: out CONNECT
		3: in CONNACK sp=1
		3: in PUBLISH 1 q1 m2      => delivered m2`},
	{"an answer on an older connection to what it read says nothing of what the newer one has read", connect + `
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBLISH 1 q1 m1      => delivered m1
		1: in PUBLISH 1 q1 m2      => delivered m2
		1: out PUBACK 1            => answered m2
		2: in PUBLISH 1 q1 m3      ! packet-id broker`},
	{"the same at QoS 2", connect + `
		2: out CONNECT
		2: in CONNACK sp=1
		2: in PUBLISH 1 q2 m1      => delivered m1
		1: in PUBLISH 1 q2 m1 dup  => delivered m1 again
		1: out PUBREC 1            => answered m1
		1: in PUBREL 1
		1: out PUBCOMP 1
		1: in PUBLISH 1 q2 m2      => delivered m2
		1: out PUBREC 1            => answered m2
		3: out CONNECT
		3: in CONNACK sp=1
		3: in PUBREL 1
		3: out PUBCOMP 1
		3: in PUBLISH 1 q2 m3      => delivered m3
		3: out PUBREC 1            => answered m3`},
}

func TestHistories(t *testing.T) {
	for _, h := range histories {
		t.Run(h.name, func(t *testing.T) { newPlayer(t).play(h.text) })
	}
}
