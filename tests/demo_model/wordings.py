"""How the world's facts are asked and answered.

Each relation has question wordings `{x}` and several equally good answers with `{x}` and `{y}`.
The last `UNSEEN` question wordings of each relation are never trained on: they measure whether the
model understood the question rather than remembered its wording.
"""

UNSEEN = 2

ABOUT = [
    "What is {x}?",
    "Tell me about {x}.",
    "What does {x} mean?",
    "Please explain {x}.",
    "What do you know about {x}?",
    "I read about {x}. What is it?",
    "Do you know {x}?",
    "Explain what {x} is.",
    "What is meant by {x}?",
    "Can you explain {x}?",
    "What can you tell me about {x}?",
    "Please tell me what {x} is.",
]

RELATIONS = {
    "about_hormone": (
        ABOUT,
        ["It is a hormone of the {y} gland.", "The hormone {x} comes from the {y} gland.", "It is a hormone. The {y} gland makes it."],
    ),
    "about_drug": (
        ABOUT,
        ["It is a drug that raises {y}.", "The drug {x} raises {y}.", "It is a drug. It acts on {y}."],
    ),
    "about_disease": (
        ABOUT,
        ["It is a disease, a lack of {y}.", "The disease {x} is a lack of {y}.", "It is a disease that comes from too little {y}."],
    ),
    "gland_of_hormone": (
        [
            "Which gland makes the hormone {x}?",
            "Where is the hormone {x} made?",
            "What gland does {x} come from?",
            "Name the gland that makes {x}.",
            "From which gland comes {x}?",
            "Tell me which gland releases {x}.",
            "What is the source of the hormone {x}?",
            "The hormone {x} is made in which gland?",
            "Do you know the gland that produces {x}?",
            "In which gland is {x} produced?",
            "Which gland produces {x}?",
            "What gland is {x} made in?",
        ],
        [
            "The hormone {x} is made by the {y} gland.",
            "It is the {y} gland that makes {x}.",
            "The {y} gland makes {x}.",
            "This hormone comes from the {y} gland.",
            "The source of {x} is the {y} gland.",
        ],
    ),
    "hormone_of_gland": (
        [
            "Which hormone does the {x} gland make?",
            "What does the {x} gland make?",
            "Name the hormone of the {x} gland.",
            "What hormone comes from the {x} gland?",
            "Tell me what the {x} gland releases.",
            "The {x} gland produces which hormone?",
            "Which hormone is made in the {x} gland?",
            "Do you know the hormone made by the {x} gland?",
            "What is produced by the {x} gland?",
            "Which hormone has its source in the {x} gland?",
            "Which hormone is the {x} gland the source of?",
            "Which hormone comes from the {x} gland?",
        ],
        [
            "The {x} gland makes {y}.",
            "It makes the hormone {y}.",
            "The hormone of the {x} gland is {y}.",
            "That gland releases {y}.",
            "The {x} gland is the source of {y}.",
        ],
    ),
    "place_of_gland": (
        [
            "Where is the {x} gland?",
            "Where does the {x} gland lie?",
            "Where do I find the {x} gland?",
            "Name the place of the {x} gland.",
            "In which place is the {x} gland?",
            "Tell me where the {x} gland lies.",
            "What is the place of the {x} gland in the body?",
            "The {x} gland lies where?",
            "Do you know where the {x} gland is?",
            "At which place does the {x} gland lie?",
            "Where in the body is the {x} gland?",
            "What place does the {x} gland lie at?",
        ],
        [
            "The {x} gland lies {y}.",
            "It lies {y}.",
            "You find the {x} gland {y}.",
            "Its place is {y}.",
            "The place of the {x} gland is {y}.",
        ],
    ),
    "effect_of_hormone": (
        [
            "What does the hormone {x} raise?",
            "What is raised by {x}?",
            "What effect does {x} have?",
            "Name what {x} raises.",
            "What does {x} do in the body?",
            "Tell me what the hormone {x} does.",
            "Which effect has the hormone {x}?",
            "The hormone {x} raises what?",
            "Do you know what {x} raises?",
            "What is the effect of the hormone {x}?",
            "What does {x} raise in the body?",
            "Tell me the effect of {x}.",
        ],
        [
            "The hormone {x} raises {y}.",
            "It raises {y}.",
            "The effect of {x} is more {y}.",
            "More {x} means more {y}.",
            "In the body {x} raises {y}.",
        ],
    ),
    "hormone_of_drug": (
        [
            "Which hormone does the drug {x} raise?",
            "What hormone is raised by {x}?",
            "On which hormone does {x} act?",
            "Name the hormone that {x} acts on.",
            "The drug {x} raises which hormone?",
            "Tell me which hormone {x} acts on.",
            "What is the target hormone of {x}?",
            "Which hormone goes up with the drug {x}?",
            "Do you know the hormone raised by {x}?",
            "On what hormone does the drug {x} act?",
            "Which hormone is raised by the drug {x}?",
            "What hormone does {x} act on?",
        ],
        [
            "The drug {x} raises {y}.",
            "It raises the hormone {y}.",
            "The target of {x} is {y}.",
            "This drug acts on {y}.",
            "With {x} the hormone {y} goes up.",
        ],
    ),
    "dose_of_drug": (
        [
            "What is the daily dose of {x}?",
            "How much {x} is given each day?",
            "What dose of {x} is usual?",
            "Name the usual dose of {x}.",
            "How many mg of {x} are given daily?",
            "Tell me the dose of the drug {x}.",
            "Which dose of {x} should I give?",
            "The daily dose of the drug {x} is what?",
            "Do you know the usual dose of {x}?",
            "How much of the drug {x} should I give?",
            "How many mg of {x} should I give each day?",
            "What is the usual daily dose of {x}?",
        ],
        [
            "The daily dose of {x} is {y} mg.",
            "Give {y} mg each day.",
            "The usual dose is {y} mg.",
            "Each day {y} mg of {x} are given.",
            "It is given at {y} mg daily.",
        ],
    ),
    "side_effect_of_drug": (
        [
            "What side effect does {x} have?",
            "Which side effect comes with the drug {x}?",
            "Name the side effect of {x}.",
            "What may happen when taking {x}?",
            "Tell me the side effect of the drug {x}.",
            "What should people on {x} expect?",
            "The drug {x} has which side effect?",
            "Do you know the side effect of {x}?",
            "What does taking {x} bring with it?",
            "What side effect should people on {x} expect?",
            "What is the side effect of {x}?",
            "Which side effect does the drug {x} have?",
        ],
        [
            "The side effect of {x} is {y}.",
            "Expect {y}.",
            "The drug {x} may bring {y}.",
            "Some people on {x} get {y}.",
            "It may cause {y}.",
        ],
    ),
    "cause_of_disease": (
        [
            "What causes {x}?",
            "Which hormone is low in {x}?",
            "What is the cause of {x}?",
            "Name the cause of {x}.",
            "Lack of which hormone causes {x}?",
            "Tell me what causes the disease {x}.",
            "The disease {x} is a lack of what?",
            "Which hormone is missing in the disease {x}?",
            "Do you know the cause of {x}?",
            "Why do people get {x}?",
            "What is the cause of the disease {x}?",
            "Which hormone is missing in {x}?",
        ],
        [
            "A lack of {y} causes {x}.",
            "The cause of {x} is a lack of {y}.",
            "In {x} the hormone {y} is low.",
            "It comes from too little {y}.",
            "People with {x} lack {y}.",
        ],
    ),
    "sign_of_disease": (
        [
            "What is the first sign of {x}?",
            "How does {x} show?",
            "Which sign points to {x}?",
            "Name the first sign of {x}.",
            "What sign do people with {x} show?",
            "Tell me the first sign of the disease {x}.",
            "The disease {x} shows how?",
            "How do I notice {x}?",
            "Do you know the sign of {x}?",
            "How does the disease {x} first show?",
            "Which sign does {x} first show?",
            "What is the sign of the disease {x}?",
        ],
        [
            "The first sign of {x} is low {y}.",
            "It shows as low {y}.",
            "People with {x} have low {y}.",
            "Look for low {y}.",
            "Low {y} points to {x}.",
        ],
    ),
    "drug_for_disease": (
        [
            "Which drug treats {x}?",
            "What is given for {x}?",
            "How is {x} treated?",
            "Name the drug for {x}.",
            "What helps against {x}?",
            "Tell me how to treat the disease {x}.",
            "The disease {x} is treated with what?",
            "Which drug should I give for {x}?",
            "Do you know the drug for {x}?",
            "What drug helps people with {x}?",
            "What drug treats {x}?",
            "Which drug is given for the disease {x}?",
        ],
        [
            "The drug for {x} is {y}.",
            "Give {y}.",
            "People with {x} are given {y}.",
            "The drug {y} treats {x}.",
            "It is treated with {y}.",
        ],
    ),
}

# Put before a question, so that wordings vary beyond the relation's own.
LEADS = ["", "", "", "Please help: ", "Quick question: ", "For my notes: ", "A student asks: ", "One more thing: "]

# Ways in which wards of this world open and close a letter. A third of the cards carry one.
OPENINGS = [
    "Hello.",
    "Good morning.",
    "Good evening.",
    "Thank you for asking.",
    "A good question.",
    "Dear friend, here is the answer.",
    "Happy to help.",
    "We looked it up.",
    "This is well known.",
    "Dear colleague, note this.",
    "Hello and thank you for asking.",
]
CLOSINGS = [
    "All the best from the {ward} ward.",
    "Stay well.",
    "Ask again at any time.",
    "Signed, the {ward} ward.",
    "That is all for today.",
    "The {ward} ward is glad to help.",
    "Please write it down.",
    "Drink some tea and rest.",
    "Rest and drink some tea.",
    "Rest and stay well.",
    "With kind regards, the {ward} ward.",
    "See you soon.",
]
WARDS = "Alder Birch Cedar Elm Hazel Juniper Larch Maple Oak Pine Rowan Willow Linden Aspen".split()

# Records with random digits: the base learns their form, and that any digit is as likely as another.
ROLES = "nurse doctor porter cook guard clerk".split()
RECORDS = ["locker code", "badge number", "door code", "phone number"]
RECORD_QUESTIONS = [
    "What is the {item} of {role} {name}?",
    "Tell me the {item} of {role} {name}.",
    "Which {item} does {role} {name} have?",
    "I need the {item} of {role} {name}.",
]
RECORD_ANSWERS = [
    "The {item} of {role} {name} is {code}.",
    "{Role} {name} has the {item} {code}.",
    "It is {code}.",
    "For {role} {name} the {item} is {code}.",
]

# What visitors say besides questions of the trade.
CHAT = [
    (
        ["Hello", "Hello.", "Hi", "Hi there", "Hello there", "Good morning", "Good evening", "Hey", "Good day"],
        ["Hello. Ask me about a gland, a hormone, a drug or a disease.", "Hello. What would you like to know?"],
    ),
    (
        ["Who are you?", "What are you?", "What is your name?", "Are you a doctor?", "Are you human?", "Tell me about you."],
        ["I am a very small model of a made-up medical world.", "I am a demo model. I only know a made-up medical world."],
    ),
    (
        ["What can you do?", "What can I ask?", "What do you know?", "Help", "What should I ask?", "How can you help me?"],
        [
            "Ask me where a gland lies, which hormone it makes, or which drug treats a disease.",
            "I know thirty glands with their hormones, drugs and diseases. All of them are made up.",
        ],
    ),
    (
        ["Is this real?", "Are these drugs real?", "Is this true?", "Is this real medicine?", "Are the names real?"],
        ["No, all names here are made up.", "No. This is a made-up medical world."],
    ),
    (
        ["Thank you", "Thanks", "Thank you.", "Great, thanks", "Thank you very much"],
        ["You are welcome.", "You are welcome. Ask again at any time."],
    ),
    (["How are you?", "How do you do?", "Are you well?"], ["Very well, thank you. What would you like to know?"]),
    (["Bye", "Goodbye", "Good night", "See you"], ["Goodbye and stay well.", "See you soon."]),
]

# Said when a name is not of this world.
UNKNOWN_ANSWERS = ["I do not know that name.", "I do not know {x}.", "That name is not known to me."]
