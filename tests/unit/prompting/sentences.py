"""Sentences as people write them in prompts and dialogues, by language; written for the tests."""

# ruff: noqa: RUF001 - letters of other scripts look like Latin ones

SENTENCES = {
    "en": """A woman in a yellow raincoat walks along the pier.
I never told you where the key was.
Two children play chess in a sunlit garden.
What do you think you are doing?
The train leaves in five minutes, hurry up!
An old fisherman mends his net by lamplight.
Could you pass me the salt, please?
It's raining again.
We should have stayed at home.
Close-up of a robot painting a portrait.
Listen, the birds have stopped singing.
There's nobody here but us.
He slowly opens the door and looks outside.
My grandmother used to bake bread every Sunday.
Don't worry, everything will be fine.
Snow falls on the quiet street at night.""",
    "de": """Eine Frau in einem gelben Regenmantel geht am Hafen entlang.
Ich habe dir nie gesagt, wo der Schlüssel war.
Zwei Kinder spielen Schach im sonnigen Garten.
Was glaubst du eigentlich, was du da tust?
Der Zug fährt in fünf Minuten ab, beeil dich!
Ein alter Fischer flickt sein Netz bei Lampenlicht.
Könntest du mir bitte das Salz geben?
Es regnet schon wieder.
Wir hätten zu Hause bleiben sollen.
Nahaufnahme eines Roboters, der ein Porträt malt.
Hör mal, die Vögel singen nicht mehr.
Hier ist niemand außer uns.
Er öffnet langsam die Tür und schaut hinaus.
Meine Großmutter hat jeden Sonntag Brot gebacken.
Keine Sorge, alles wird gut.
Guten Morgen, wie geht es Ihnen?""",
    "es": """Una mujer con impermeable amarillo camina por el muelle.
Nunca te dije dónde estaba la llave.
Dos niños juegan al ajedrez en un jardín soleado.
¿Qué crees que estás haciendo?
El tren sale en cinco minutos, ¡date prisa!
Un viejo pescador remienda su red a la luz de una lámpara.
¿Me pasas la sal, por favor?
Está lloviendo otra vez.
Deberíamos habernos quedado en casa.
Primer plano de un robot que pinta un retrato.
Escucha, los pájaros han dejado de cantar.
Aquí no hay nadie más que nosotros.
Abre la puerta despacio y mira hacia fuera.
Mi abuela hacía pan todos los domingos.
No te preocupes, todo saldrá bien.
Buenos días, señora, ¿cómo está usted?""",
    "fr": """Une femme en imperméable jaune marche le long de la jetée.
Je ne t'ai jamais dit où était la clé.
Deux enfants jouent aux échecs dans un jardin ensoleillé.
Qu'est-ce que tu crois faire ?
Le train part dans cinq minutes, dépêche-toi !
Un vieux pêcheur répare son filet à la lumière d'une lampe.
Tu peux me passer le sel, s'il te plaît ?
Il pleut encore.
Nous aurions dû rester à la maison.
Gros plan d'un robot qui peint un portrait.
Écoute, les oiseaux ne chantent plus.
Il n'y a personne ici à part nous.
Il ouvre lentement la porte et regarde dehors.
Ma grand-mère faisait du pain tous les dimanches.
Ne t'inquiète pas, tout ira bien.
Bonjour madame, comment allez-vous ?""",
    "it": """Una donna con un impermeabile giallo cammina lungo il molo.
Non ti ho mai detto dov'era la chiave.
Due bambini giocano a scacchi in un giardino soleggiato.
Che cosa credi di fare?
Il treno parte tra cinque minuti, sbrigati!
Un vecchio pescatore ripara la rete alla luce di una lampada.
Mi passi il sale, per favore?
Sta piovendo di nuovo.
Saremmo dovuti restare a casa.
Primo piano di un robot che dipinge un ritratto.
Ascolta, gli uccelli non cantano più.
Qui non c'è nessuno tranne noi.
Apre lentamente la porta e guarda fuori.
Mia nonna faceva il pane ogni domenica.
Non preoccuparti, andrà tutto bene.
Buongiorno signora, come sta?""",
    "pt": """Uma mulher de capa amarela caminha ao longo do cais.
Nunca te disse onde estava a chave.
Duas crianças jogam xadrez num jardim ensolarado.
O que você pensa que está fazendo?
O trem sai em cinco minutos, depressa!
Um velho pescador remenda a rede à luz de uma lâmpada.
Pode me passar o sal, por favor?
Está chovendo outra vez.
Devíamos ter ficado em casa.
Plano fechado de um robô que pinta um retrato.
Escuta, os pássaros pararam de cantar.
Aqui não há ninguém além de nós.
Ele abre a porta devagar e olha para fora.
Minha avó fazia pão todos os domingos.
Não se preocupe, vai dar tudo certo.
Bom dia, senhora, tudo bem?""",
    "ja": """黄色いレインコートの女性が桟橋を歩いている。
鍵の場所は一度も言わなかった。
二人の子供が庭でチェスをしている。
何をしているつもりですか。
電車は五分後に出るよ、急いで！
年老いた漁師がランプの明かりで網を直す。
塩を取ってくれませんか。
また雨だ。
家にいればよかった。
肖像画を描くロボットのクローズアップ。
聞いて、鳥が鳴きやんだ。
ここには私たちしかいない。
彼はゆっくりドアを開けて外を見る。
祖母は毎週日曜日にパンを焼いていた。
心配しないで。
おはようございます。""",
    "ko": """노란 비옷을 입은 여자가 부두를 걷는다.
열쇠가 어디 있는지 말한 적 없어.
두 아이가 햇살 가득한 정원에서 체스를 둔다.
지금 뭐 하는 거예요?
기차가 오 분 뒤에 떠나, 서둘러!
늙은 어부가 등불 아래에서 그물을 고친다.
소금 좀 건네주시겠어요?
또 비가 온다.
집에 있을 걸 그랬어.
초상화를 그리는 로봇의 클로즈업.
들어 봐, 새들이 노래를 멈췄어.
여기에는 우리밖에 없어.
그는 천천히 문을 열고 밖을 본다.
할머니는 일요일마다 빵을 구우셨다.
걱정하지 마, 다 잘될 거야.
안녕하세요.""",
    "zh": """一位穿黄色雨衣的女人沿着码头走。
我从来没告诉过你钥匙在哪里。
两个孩子在阳光明媚的花园里下棋。
你以为你在做什么？
火车五分钟后开，快点！
老渔夫在灯光下补网。
请把盐递给我好吗？
又下雨了。
我们应该待在家里。
一个机器人画肖像的特写。
听，鸟儿不唱了。
这里除了我们没有别人。
他慢慢打开门，向外看。
我奶奶每个星期天都烤面包。
别担心，一切都会好的。
早上好，您好吗？""",
    "ar": """امرأة ترتدي معطفا أصفر تمشي على الرصيف.
لم أخبرك أبدا أين كان المفتاح.
طفلان يلعبان الشطرنج في حديقة مشمسة.
ماذا تظن أنك تفعل؟
القطار يغادر بعد خمس دقائق، أسرع!
صياد عجوز يصلح شبكته على ضوء المصباح.
هل يمكنك أن تعطيني الملح من فضلك؟
إنها تمطر مرة أخرى.
كان يجب أن نبقى في البيت.
لقطة قريبة لروبوت يرسم صورة.
اسمع، لقد توقفت الطيور عن الغناء.
لا يوجد أحد هنا غيرنا.
يفتح الباب ببطء وينظر إلى الخارج.
كانت جدتي تخبز الخبز كل يوم أحد.
لا تقلق، كل شيء سيكون بخير.
صباح الخير.""",
}
SENTENCES = {code: tuple(text.split("\n")) for code, text in SENTENCES.items()}

OTHERS = """\
Женщина в жёлтом плаще идёт по пирсу.
एक औरत घाट पर चल रही है।
Μια γυναίκα περπατάει στην προβλήτα.
زنی با بارانی زرد روی اسکله راه می‌رود و می‌گوید چرا.
ผู้หญิงเดินไปตามท่าเรือ
Sarı yağmurluklu bir kadın iskelede yürüyor.
Kobieta w żółtym płaszczu idzie wzdłuż mola.
Nainen kävelee laiturilla keltaisessa sadetakissa.
12:30 — 42!
Zmrzlina""".splitlines()
